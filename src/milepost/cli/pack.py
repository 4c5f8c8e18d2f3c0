"""`milepost pack`: a results folder as one file to hand in."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.cli.options import output_option
from milepost.cli.output import say, say_json, tell_notes
from milepost.cli.selection import results_argument
from milepost.text.language import _


@click.command("pack")
@results_argument
@output_option(default=Path("submission.zip"), help="The zip to write.")
@click.option(
    "--task-yaml",
    "task_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="YAML of a task of your own to pack as well; may be repeated.",
)
@click.option(
    "--patch",
    "patches",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A diff to pack as well, for example of lm_eval's tasks; may be repeated.",
)
@click.option("--partial", is_flag=True, help="Pack even if checkpoints lack metrics; the pack lists them.")
@click.option(
    "--allow-shared",
    is_flag=True,
    help="Pack even if a scored doc is also a few-shot example; the pack lists such docs.",
)
@click.option("--lm-eval", is_flag=True, help="Add lm_eval's files, results_*.json and samples_*.jsonl.")
@click.option("--max-mb", type=float, default=1000, show_default=True, help="Refuse to write a larger file.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    results: Path,
    output: Path,
    task_files: tuple[Path, ...],
    patches: tuple[Path, ...],
    partial: bool,
    allow_shared: bool,
    lm_eval: bool,
    max_mb: float,
    as_json: bool,
) -> None:
    """Check RESULTS and pack it into a zip: every record, the metrics, and a list with sizes and hashes.

    It refuses, with the reason: records that are damaged or missing, checkpoints without metrics, a run that
    is not finished, and docs that are scored and shown as examples in a prompt. The same results give the
    same bytes. Unpacked, the zip is a results folder again.
    """
    from milepost.submission import pack

    packed = pack(
        results,
        output,
        task_files=task_files,
        patches=patches,
        partial=partial,
        allow_shared=allow_shared,
        lm_eval=lm_eval,
        most_mb=max_mb,
    )
    tell_notes(packed.notes)
    if as_json:
        written = {"path": str(packed.path), "files": packed.n_files, "bytes": packed.n_bytes}
        say_json({**written, "sha256": packed.sha256, "notes": packed.notes})
    else:
        say(
            _(
                "wrote {path}: {n_files} files, {n_bytes:,} bytes",
                path=packed.path,
                n_files=packed.n_files,
                n_bytes=packed.n_bytes,
            )
        )
        say(_("sha256 {sha256}", sha256=packed.sha256))
