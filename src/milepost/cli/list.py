"""`milepost list`: what checkpoints a SOURCE has, before anything is downloaded or scored."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milepost.byte_sizes import format_bytes
from milepost.sources import Overrides, Steps, discover_all
from milepost.types import Checkpoint, Series

if TYPE_CHECKING:
    from rich.table import Table


@click.command("list")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--steps", metavar="BEGIN:END:STRIDE", help="Only these steps, END included; parts may be empty."
)
@click.option("--config", metavar="FILE", help="A config in place of any that lies beside the checkpoints.")
@click.option("--base", metavar="MODEL", help="What adapters change: a folder or Hub address.")
@click.option(
    "-o",
    "--output-path",
    type=click.Path(path_type=Path),
    metavar="RESULTS",
    help="Also say which have figures in this results folder.",
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

    A SOURCE is a folder of checkpoints or a Hub address (hf://org/name@step-*, hf://org/name/iter_*).

    \b
    milepost list runs/my-500m
    milepost list 'hf://org/name@step-*' --steps ::10000
    """
    overrides = Overrides(config=Path(config).expanduser() if config is not None else None, base=base)
    found = discover_all(sources, Steps.parse(steps) if steps is not None else None, overrides)
    if output_path is not None:
        from milepost.run.series_names import name_by_source

        found = tuple(name_by_source(output_path, found))
    scored = _scored(output_path)
    if as_json:
        rows = [_as_object(one, scored) for series in found for one in series.checkpoints]
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for series in found:
        console.print(_table(series, scored))


def _scored(results: Path | None) -> Set[tuple[str, str]] | None:
    if results is None:
        return None
    from milepost.store import ResultsIndex

    return ResultsIndex.open(results).scored


def _as_object(checkpoint: Checkpoint, scored: Set[tuple[str, str]] | None) -> dict[str, Any]:
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


def _table(series: Series, scored: Set[tuple[str, str]] | None) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from milepost.safe_text import printable

    title = Text(f"{printable(series.name)}  {printable(series.source)}", style="bold")
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("checkpoint", overflow="fold")
    for heading in ("step", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("format", no_wrap=True)
    table.add_column("complete?", overflow="fold")
    if scored is not None:
        table.add_column("scored?")
    for one in series.checkpoints:
        cells = [
            Text(printable(one.name)),
            Text("–" if one.step is None else str(one.step)),
            Text("–" if one.size_bytes is None else format_bytes(one.size_bytes)),
            Text(one.format),
            Text("yes") if one.problem is None else Text(f"no: {printable(one.problem)}", style="red"),
        ]
        if scored is not None:
            cells.append(Text("yes" if (one.series, one.name) in scored else "no"))
        table.add_row(*cells)
    return table
