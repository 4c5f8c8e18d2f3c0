"""`milepost pack`: a results folder as one file to hand in."""

from __future__ import annotations

import json
from pathlib import Path

import click

from milepost.cli.selection import results_argument


@click.command("pack")
@results_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("submission.zip"),
    show_default=True,
    help="The zip to write.",
)
@click.option(
    "--task-yaml",
    "task_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="YAML of a task of your own, to go along; may be repeated.",
)
@click.option(
    "--patch",
    "patches",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A diff to go along, of lm_eval's tasks for example; may be repeated.",
)
@click.option("--partial", is_flag=True, help="Also if checkpoints lack figures; they are listed in it.")
@click.option(
    "--allow-shared",
    is_flag=True,
    help="Also if the benchmark has a scored doc among its examples' split; listed too.",
)
@click.option("--max-mb", type=float, default=1000, show_default=True, help="Refuse what would be larger.")
@click.option("--json", "as_json", is_flag=True, help="Say what was written as JSON.")
def command(
    results: Path,
    output: Path,
    task_files: tuple[Path, ...],
    patches: tuple[Path, ...],
    partial: bool,
    allow_shared: bool,
    max_mb: float,
    as_json: bool,
) -> None:
    """Check RESULTS and pack it into a zip: every record, the figures, and a list with sizes and hashes.

    Refused, with the reason, are records that are damaged or missing, checkpoints without figures, a run that
    goes on, and docs that are scored and shown as examples in a prompt. The same results give the same bytes.
    Unpacked, the zip is a results folder again.
    """
    from milepost.safe_text import printable
    from milepost.submission import pack

    packed = pack(
        results,
        output,
        task_files=task_files,
        patches=patches,
        partial=partial,
        allow_shared=allow_shared,
        most_mb=max_mb,
    )
    for note in packed.notes:
        click.echo(f"note: {printable(note)}", err=True)
    if as_json:
        written = {"path": str(packed.path), "files": packed.n_files, "bytes": packed.n_bytes}
        click.echo(json.dumps({**written, "sha256": packed.sha256, "notes": packed.notes}))
    else:
        click.echo(f"wrote {packed.path}: {packed.n_files} files, {packed.n_bytes:,} bytes")
        click.echo(f"sha256 {packed.sha256}")
