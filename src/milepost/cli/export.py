"""`milepost export`: results as files for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.cli.options import output_option
from milepost.cli.output import say, say_json
from milepost.cli.selection import results_argument
from milepost.errors import ResultsError
from milepost.report.files import check_target, write_file
from milepost.report.long_table import as_csv, as_parquet
from milepost.results.selection import select_all_rows
from milepost.store import ResultsIndex
from milepost.text.language import Phrase, _

FORMATS = ("lm_eval", "helm", "csv", "parquet")


@click.command()
@results_argument
@click.option(
    "-f",
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="lm_eval: its results_*.json and samples_*.jsonl; helm: its runs/SUITE/RUN/*.json; csv and "
    "parquet: one line per metric. By default the name of PATH decides; without PATH it is lm_eval.",
)
@output_option(
    metavar="PATH", help="The file to write, for lm_eval and helm the folder; by default in RESULTS."
)
@click.option("--json", "as_json", is_flag=True, help="Print the names of the files as JSON.")
def command(results: Path, kind: str | None, output: Path | None, as_json: bool) -> None:
    """Write RESULTS, the output folder of `milepost run`, for other programs.

    CSV and Parquet hold the rows of `milepost show --json`: every metric of every checkpoint.
    """
    kind = kind or _kind_of(output)
    folders = ("lm_eval", "helm")
    output = output or (results if kind in folders else results / f"results.{kind}")
    if kind == "lm_eval":
        from milepost.report.lm_eval_files import export_lm_eval

        written = export_lm_eval(ResultsIndex.open(results), output)
    elif kind == "helm":
        from milepost.api.helm_files import export_helm

        written = export_helm(ResultsIndex.open(results), output)
    else:
        check_target(output)
        every = select_all_rows(ResultsIndex.open(results))
        write_file(output, as_parquet(every) if kind == "parquet" else as_csv(every).encode())
        written = [output]
    if as_json:
        say_json({"format": kind, "files": [str(path) for path in written]})
    else:
        for path in written:
            say(_("wrote {path}", path=path))


def _kind_of(output: Path | None) -> str:
    if output is None:
        return "lm_eval"
    suffix = output.suffix.lower().lstrip(".")
    if suffix not in ("csv", "parquet"):
        raise ResultsError(
            Phrase("the name {output} does not say the format", output=output),
            Phrase("pass --format {names}", names="|".join(FORMATS)),
        )
    return suffix
