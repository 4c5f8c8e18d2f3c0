"""What `milepost signal` says, as a table and as data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from milepost.analysis.agreement import Agreement
from milepost.analysis.pick_bias import PickBias, length_names, position_name
from milepost.analysis.task_signal import MetricSignal, TaskSignal
from milepost.report.scores import figure_name
from milepost.report.wide import Wide
from milepost.safe_text import printable

VERDICTS = ("watch", "too noisy at this scale", "at chance", "too few checkpoints", "too few docs")
LEGEND = (
    "ρ: Spearman of step and value, positive where it gets better; lag 1: autocorrelation; chance: distance "
    "of the last checkpoints from it, in standard errors; SNR: change over the noise of these checkpoints; "
    "gain: last against first checkpoints, in standard errors; picks: the last checkpoint's favourite "
    "position and the entropy of its picks, or where answers differ in length its favourite length and how "
    "many right answers have it; clearest: the metric of the same docs that gains most"
)
SEVERAL = (
    "τ: Kendall's tau of the order of the series at consecutive steps; order: share of pairs that already "
    "stand as at the end; apart: difference between series over their noise"
)


def as_json(signals: Sequence[TaskSignal]) -> str:
    """An array of objects, one per series and task, with every metric's rating."""
    return json.dumps([_record(each) for each in signals], indent=1, allow_nan=False)


def signal_tables(signals: Sequence[TaskSignal], *, most: int | None = None) -> Iterator[RenderableType]:
    """A table per series, tasks to watch first, then how to read it.

    Args:
        most: tasks per series to list; how many more there are is said.
    """
    of_series: dict[str, list[TaskSignal]] = {}
    for each in signals:
        of_series.setdefault(each.series, []).append(each)
    for series, own in of_series.items():
        ordered = sorted(own, key=_place)
        yield Wide(_table(series, ordered[:most]))
        yield Text(_summary(own))
        if most is not None and len(ordered) > most:
            yield Text(f"{len(ordered) - most} more with --all", style="dim")
        for note in _notes(own):
            yield Text(f"note: {note}", style="dim")
        yield Text()
    several = any(each.agreement is not None for each in signals)
    yield Text(f"{LEGEND}; {SEVERAL}" if several else LEGEND, style="dim")


def _place(of: TaskSignal) -> tuple[bool, int, float]:
    return of.kind != "group", VERDICTS.index(of.main.rating.verdict), -of.main.rating.gain_sigmas


def _table(series: str, signals: Sequence[TaskSignal]) -> Table:
    several = any(each.agreement is not None for each in signals)
    made = Table(
        title=Text(printable(series), style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    made.add_column("task", no_wrap=True)
    made.add_column("metric", no_wrap=True)
    numbers = ["docs", "ρ", "lag 1", "chance", "SNR", "gain"]
    for heading in (*numbers, *(("τ", "order", "apart") if several else ())):
        made.add_column(heading, justify="right", no_wrap=True)
    for heading in ("picks", "verdict", "clearest"):
        made.add_column(heading, no_wrap=True)
    for each in signals:
        made.add_row(*(Text(cell) for cell in _cells(each, several=several)))
    return made


def _cells(of: TaskSignal, *, several: bool) -> Iterator[str]:
    rating = of.main.rating
    yield printable(of.task)
    yield figure_name(of.main.metric, of.main.filter)
    yield f"{of.n:,}"
    yield _number(rating.spearman, 2)
    yield _number(rating.autocorrelation, 2)
    yield _number(rating.from_chance, 1)
    yield _number(rating.snr, 1)
    yield f"{rating.gain_sigmas:+.1f}"
    if several:
        yield from _order(of.agreement)
    yield _habit(of.pick_bias)
    yield f"{rating.verdict}: {rating.reason}"
    yield _metric(of.clearest)


def _habit(of: PickBias | None) -> str:
    if of is None:
        return "–"
    if of.by_length:
        rank = max(range(len(of.by_length)), key=of.by_length.__getitem__)
        name = length_names(len(of.by_length))[rank]
        return f"{name} {of.by_length[rank]:.0%}, right {of.right_by_length[rank]:.0%}"
    favourite = max(range(len(of.picked)), key=of.picked.__getitem__)
    return f"{position_name(favourite)} {of.picked[favourite]:.0%}, {of.entropy_bits:.2f} bits"


def _order(of: Agreement | None) -> tuple[str, str, str]:
    if of is None:
        return "–", "–", "–"
    return _number(of.kendall, 2), _number(of.consistency, 2), _number(of.snr, 1)


def _metric(of: MetricSignal | None) -> str:
    return "–" if of is None else f"{figure_name(of.metric, of.filter)} {of.rating.gain_sigmas:+.1f}"


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def _summary(own: Sequence[TaskSignal]) -> str:
    counts = {verdict: sum(each.main.rating.verdict == verdict for each in own) for verdict in VERDICTS}
    return ", ".join(f"{verdict}: {count}" for verdict, count in counts.items() if count)


def _notes(own: Sequence[TaskSignal]) -> list[str]:
    """Each note once, with the tasks it is about."""
    about: dict[str, list[str]] = {}
    for each in own:
        for note in each.notes:
            about.setdefault(note, []).append(printable(each.task))
    return [
        f"{tasks[0] if len(tasks) == 1 else f'{len(tasks)} tasks'}: {printable(note)}"
        for note, tasks in about.items()
    ]


def _record(of: TaskSignal) -> dict[str, Any]:
    return {
        "series": of.series,
        "task": of.task,
        "kind": of.kind,
        "n": of.n,
        "chance": of.chance,
        "constant": of.constant,
        "metric": of.main.metric,
        "filter": of.main.filter,
        **_rating(of.main),
        "picks": None if of.pick_bias is None else asdict(of.pick_bias),
        "clearest_metric": None if of.clearest is None else of.clearest.metric,
        "agreement": None if of.agreement is None else asdict(of.agreement),
        "notes": of.notes,
        "metrics": [{"metric": each.metric, "filter": each.filter, **_rating(each)} for each in of.metrics],
    }


def _rating(of: MetricSignal) -> dict[str, Any]:
    return {**asdict(of.rating), "improved": of.rating.improved}
