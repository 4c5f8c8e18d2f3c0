"""`milepost list`: the checkpoints of a SOURCE, before anything is downloaded or scored."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import click

from milepost.cli.options import output_option
from milepost.cli.output import say_blocks, say_json, tell_notes
from milepost.report.formatting import NOT_MEASURED
from milepost.report.table import Cell, Table, cells, columns
from milepost.run.display.signs_of_life import SignsOfLife
from milepost.sources import Overrides, Steps, discover_all, other_branches
from milepost.store import ResultsIndex
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase, _
from milepost.text.safe_text import printable
from milepost.types.checkpoints import Checkpoint, Series

MOST_BRANCHES = 12
COLUMNS = columns(
    "checkpoint", "step", "size", "format", "complete?", "scored?",
    left=("format", "scored?"), wraps=("checkpoint", "complete?"),
)  # fmt: skip


@click.command("list")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--steps", metavar="BEGIN:END:STRIDE", help="Only these steps, END included; parts may be empty."
)
@click.option("--config", metavar="FILE", help="A config in place of those beside the checkpoints.")
@click.option("--base", metavar="MODEL", help="The base model of adapters: a folder or Hub address.")
@output_option(
    "--output-path", metavar="RESULTS", help="Also say which checkpoints have metrics in this results folder."
)
@click.option("--json", "as_json", is_flag=True, help="An array of objects, one per checkpoint.")
def command(
    sources: tuple[str, ...],
    steps: str | None,
    config: str | None,
    base: str | None,
    output_path: Path | None,
    as_json: bool,
) -> None:
    """List the checkpoints of each SOURCE: step, format, size, and whether they are complete.

    A SOURCE is a folder of checkpoints, a Hub address (hf://org/name@step-*, hf://org/name/iter_*) or a
    folder in a bucket (s3://bucket/run, gs://bucket/run).

    \b
    milepost list runs/my-500m
    milepost list 'hf://org/name@step-*' --steps ::10000
    """
    overrides = Overrides(config=Path(config).expanduser() if config is not None else None, base=base)
    wanted = Steps.parse(steps) if steps is not None else None
    with SignsOfLife() as signs, signs.stage(Phrase("looking for checkpoints")):
        found = discover_all(sources, wanted, overrides)
    if output_path is not None:
        from milepost.run.series.series_names import name_by_source

        found = tuple(name_by_source(output_path, found))
    scored = None if output_path is None else ResultsIndex.open(output_path).scored
    if as_json:
        say_json([_record(each, scored) for series in found for each in series.checkpoints])
        return
    for series in found:
        say_blocks([_table(series, scored), ""])
    tell_notes(note for series in found if (note := _branches(series)))


def _record(checkpoint: Checkpoint, scored: Set[tuple[str, str]] | None) -> dict[str, Any]:
    return {
        "series": checkpoint.series,
        "checkpoint": checkpoint.name,
        "step": checkpoint.step,
        "source": checkpoint.source,
        "format": checkpoint.format,
        "size_bytes": checkpoint.size_bytes,
        "complete": checkpoint.problem is None,
        "problem": checkpoint.problem,
        "scored": None if scored is None else (checkpoint.series, checkpoint.name) in scored,
    }


def _branches(series: Series) -> str | None:
    """Return a note on the branches of a repository that were not asked for; None without any."""
    if not (branches := other_branches(series)):
        return None
    named = ", ".join(map(printable, branches[:MOST_BRANCHES]))
    more = _(" and {n} more", n=len(branches) - MOST_BRANCHES) if len(branches) > MOST_BRANCHES else ""
    return _(
        "{repository} has other branches: {names}{more}; a pattern names several: {repository}@*",
        repository=series.root,
        names=named,
        more=more,
    )


def _table(series: Series, scored: Set[tuple[str, str]] | None) -> Table:
    rows = (
        cells(
            [
                printable(each.name),
                NOT_MEASURED if each.step is None else str(each.step),
                NOT_MEASURED if each.size_bytes is None else format_bytes(each.size_bytes),
                each.format,
                Cell("yes")
                if each.problem is None
                else Cell(Phrase("no: {problem}", problem=printable(each.problem)), "problem"),
                "yes" if scored is not None and (each.series, each.name) in scored else "no",
            ]
        )
        for each in series.checkpoints
    )
    table = Table(COLUMNS, tuple(rows), title=f"{printable(series.name)}  {printable(series.source)}")
    return table if scored is not None else table.without(("scored?",))
