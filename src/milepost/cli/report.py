"""`milepost report`: results folders as one file to send."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.cli.options import output_option
from milepost.cli.output import say, say_json, say_text
from milepost.cli.selection import several_results_argument
from milepost.report.files import check_target, write_file
from milepost.text.language import _

FORMATS = {".html": "html", ".pdf": "pdf", ".md": "markdown"}


@click.command("report")
@several_results_argument
@output_option(metavar="FILE", help="The file to write: .html (default: report.html), .pdf or .md.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "pdf", "markdown"]),
    help="What to write where the name does not say it; markdown without -o is printed.",
)
@click.option("--pdf", "as_pdf", is_flag=True, help="The same as --format pdf; Chromium makes it.")
@click.option("--title", help="Heading; by default the names of the training runs.")
@click.option(
    "--baselines", type=click.Path(path_type=Path), metavar="FILE.yaml", help="Published scores of models."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    results: tuple[Path, ...],
    output: Path | None,
    form: str | None,
    as_pdf: bool,
    title: str | None,
    baselines: Path | None,
    as_json: bool,
) -> None:
    """Write RESULTS as one file: the pages of `milepost serve`, to be read without a network.

    \b
    milepost report results -o report.html
    milepost report original pruned -o report.html     # side by side
    milepost report results -o report.pdf
    milepost report results --format markdown          # for a pull request
    """
    form = "pdf" if as_pdf else form or FORMATS.get(output.suffix.lower() if output else "", "html")
    output = _target(output, form)
    from milepost.web.report_file import open_view, report_html, report_markdown

    view = open_view(*results, baselines=baselines)
    if form == "markdown":
        text = report_markdown(view)
        if output is None:
            say_text(text)
            return
        data = text.encode()
    else:
        data = report_html(view, title=title).encode("utf-8", "backslashreplace")
        if form == "pdf":
            from milepost.report.pdf import as_pdf as printed

            data = printed(data)
    assert output is not None
    write_file(output, data)
    if as_json:
        say_json({"path": str(output), "format": form, "bytes": len(data)})
    else:
        say(_("wrote {path}", path=output))


def _target(output: Path | None, form: str) -> Path | None:
    """Return the file to write, checked before any work; None for standard output."""
    if output is None and form == "markdown":
        return None
    suffix = next(suffix for suffix, name in FORMATS.items() if name == form)
    target = output or Path(f"report{suffix}")
    if form == "pdf" and target.suffix.lower() == ".html":
        target = target.with_suffix(".pdf")
    check_target(target, (suffix,))
    return target
