"""What each checkpoint picked, by position and by length, as tables and as data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from milepost.analysis.pick_bias import PickBias, pick_bias, position_name
from milepost.report.wide import Wide
from milepost.safe_text import printable
from milepost.types import Picks

LEGEND = (
    "A, B, ...: % of docs whose pick stands first, second, ...; bits: entropy of these, 0 is always one; "
    "bias: % of picks that would have to move to be spread as the right answers are"
)
LENGTHS = "s, ..., l: % of picks that are the shortest, ..., the longest choice of their doc"
MOST_LENGTHS = 6


def as_json(picks: Sequence[Picks]) -> str:
    """An array of objects, one per series, checkpoint and task."""
    return json.dumps([_record(each, pick_bias(each.counts)) for each in picks], indent=1, allow_nan=False)


def _record(of: Picks, shares: PickBias) -> dict[str, object]:
    return {
        "series": of.series,
        "checkpoint": of.checkpoint,
        "step": of.step,
        "task": of.task,
        "n": of.counts.n,
        "same_choices_in_every_doc": of.counts.fixed,
        "picked": list(shares.picked),
        "right": list(shares.right),
        "constant_answer_accuracy": list(of.counts.constant),
        "entropy_bits": shares.entropy_bits,
        "bias": shares.excess,
        "picked_by_length": list(shares.by_length),
        "right_by_length": list(shares.right_by_length),
    }


def pick_tables(picks: Sequence[Picks]) -> Iterator[RenderableType]:
    """One table per series and task: steps down, positions across, the right answers below; then a legend."""
    of_task: dict[tuple[str, str], list[Picks]] = {}
    for each in picks:
        of_task.setdefault((each.series, each.task), []).append(each)
    for (series, task), steps in of_task.items():
        yield Wide(_table(f"{series}: {task}", steps))
        yield Text()
    lengths = any(pick_bias(each.counts).by_length for each in picks)
    yield Text(f"{LEGEND}; {LENGTHS}" if lengths else LEGEND, style="dim")


def _table(title: str, steps: Sequence[Picks]) -> Table:
    shares = [pick_bias(each.counts) for each in steps]
    positions = max(len(each.picked) for each in shares)
    ranks = max(len(each.by_length) for each in shares)
    made = Table(
        title=Text(printable(title), style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for heading in ("step", *map(position_name, range(positions)), "bits", "bias", *_ranks(ranks)):
        made.add_column(Text(heading), justify="right", no_wrap=True)
    for each, of in zip(steps, shares, strict=True):
        label = printable(each.checkpoint) if each.step is None else str(each.step)
        numbers = (f"{of.entropy_bits:.2f}", f"{100 * of.excess:.1f}")
        made.add_row(label, *_percent(of.picked), *numbers, *_percent(of.by_length[:MOST_LENGTHS]))
    made.add_section()
    last = shares[-1]
    made.add_row(
        "right", *_percent(last.right), "", "", *_percent(last.right_by_length[:MOST_LENGTHS]), style="dim"
    )
    return made


def _ranks(n: int) -> list[str]:
    return [] if not n else ["s", *map(str, range(2, n)), "l"][:MOST_LENGTHS]


def _percent(shares: Sequence[float]) -> list[str]:
    return [f"{100 * share:.1f}" for share in shares]
