"""The table of `milepost signal`: which tasks are worth watching."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from milepost.analysis.agreement import Agreement
from milepost.analysis.pick_bias import PickBias, length_names, position_name
from milepost.analysis.task_signal import MetricSignal, TaskSignal
from milepost.report.blocks import Block, Note
from milepost.report.formatting import NOT_MEASURED, decimals, metric_name
from milepost.report.table import Table, cells, columns, grouped
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable

VERDICTS = (
    "watch",
    "no steady trend",
    "too noisy at this scale",
    "at chance",
    "too few checkpoints",
    "too few docs",
)
LEGEND = Phrase(
    "ρ: Spearman of step and value, positive where it gets better; lag 1: autocorrelation; chance: distance "
    "of the last checkpoints from it, in standard errors; SNR: change over the noise of these checkpoints; "
    "gain: last against first checkpoints, in standard errors; picks: the last checkpoint's favourite "
    "position and the entropy of its picks, or where answers differ in length its favourite length and how "
    "many right answers have it; clearest: the metric of the same docs that gains most"
)
SEVERAL_SERIES = Phrase(
    "τ: Kendall's tau of the order of the series at consecutive steps; order: share of pairs that already "
    "stand as at the end; apart: difference between series over their noise"
)
_TEXT_COLUMNS = ("task", "verdict", "metric", "clearest", "picks")
_AGREEMENT_COLUMNS = ("τ", "order", "apart")
COLUMNS = columns(
    "task", "verdict", "metric", "docs", "gain", "clearest", "chance", "ρ", "lag 1", "SNR",
    *_AGREEMENT_COLUMNS, "picks", wraps=_TEXT_COLUMNS,
)  # fmt: skip


def signal_records(signals: Sequence[TaskSignal]) -> list[dict[str, Any]]:
    """Return an object per series and task, with the rating of every metric."""
    return [_record(signal) for signal in signals]


def signal_report(signals: Sequence[TaskSignal], *, most: int | None = None) -> Iterator[Block]:
    """Yield a table per series, tasks to watch first, then how to read it.

    Args:
        most: tasks per series to list; how many more there are is said.
    """
    for series, own in grouped(signals, lambda signal: signal.series).items():
        ordered = sorted(own, key=by_signal)
        table = Table(COLUMNS, tuple(cells(_texts(signal)) for signal in ordered[:most]), printable(series))
        several = any(signal.agreement is not None for signal in ordered[:most])
        yield table if several else table.without(_AGREEMENT_COLUMNS)
        yield _summary(own)
        if most is not None and len(ordered) > most:
            yield Note(Phrase("{n} more with --all", n=len(ordered) - most))
        yield from (Note(Phrase("note: {note}", note=note)) for note in _notes(own))
        yield ""
    several = any(signal.agreement is not None for signal in signals)
    yield Note(joined("; ", (LEGEND, SEVERAL_SERIES)) if several else LEGEND)


def by_signal(signal: TaskSignal) -> tuple[bool, int, float]:
    """Sort key: groups first, then tasks to watch, then the clearest gain."""
    rating = signal.main.rating
    return signal.kind != "group", VERDICTS.index(rating.verdict), -rating.gain_sigmas


def _texts(signal: TaskSignal) -> list[str]:
    rating = signal.main.rating
    return [
        printable(signal.task),
        joined(": ", (Phrase(rating.verdict), rating.reason)),
        metric_name(signal.main.metric, signal.main.filter),
        f"{signal.n:,}",
        decimals(rating.gain_sigmas, 1, sign=True),
        _clearest(signal),
        decimals(rating.from_chance, 1),
        decimals(rating.spearman, 2),
        decimals(rating.autocorrelation, 2),
        decimals(rating.snr, 1),
        *_agreement(signal.agreement),
        _favourite(signal.pick_bias),
    ]


def _clearest(signal: TaskSignal) -> str:
    """Return the metric that gains most, with its gain; a dash where it is the main one."""
    if (clearest := signal.clearest) is None:
        return NOT_MEASURED
    name = metric_name(clearest.metric, clearest.filter)
    return f"{name} {decimals(clearest.rating.gain_sigmas, 1, sign=True)}"


def _agreement(agreement: Agreement | None) -> list[str]:
    if agreement is None:
        return [NOT_MEASURED] * 3
    return [decimals(agreement.kendall, 2), decimals(agreement.consistency, 2), decimals(agreement.snr, 1)]


def _favourite(habit: PickBias | None) -> str:
    """Return the position or length that the last checkpoint picks most often."""
    if habit is None:
        return NOT_MEASURED
    if habit.by_length:
        rank = max(range(len(habit.by_length)), key=habit.by_length.__getitem__)
        return Phrase(
            "{name} {picked:.0%}, right {right:.0%}",
            name=length_names(len(habit.by_length))[rank],
            picked=habit.by_length[rank],
            right=habit.right_by_length[rank],
        )
    position = max(range(len(habit.picked)), key=habit.picked.__getitem__)
    return Phrase(
        "{name} {picked:.0%}, {entropy:.2f} bits",
        name=position_name(position),
        picked=habit.picked[position],
        entropy=habit.entropy_bits,
    )


def _summary(own: Sequence[TaskSignal]) -> str:
    counts = {verdict: sum(signal.main.rating.verdict == verdict for signal in own) for verdict in VERDICTS}
    return joined(
        ", ", (joined(": ", (Phrase(verdict), str(count))) for verdict, count in counts.items() if count)
    )


def _notes(own: Sequence[TaskSignal]) -> list[str]:
    """Return each note once, with the task or the number of tasks that it is about."""
    about = grouped(((note, signal.task) for signal in own for note in signal.notes), lambda pair: pair[0])
    return [
        joined(": ", (_of_tasks([task for _, task in pairs]), printable(note)))
        for note, pairs in about.items()
    ]


def _of_tasks(tasks: Sequence[str]) -> str:
    return printable(tasks[0]) if len(tasks) == 1 else Phrase("{n} tasks", n=len(tasks))


def _record(signal: TaskSignal) -> dict[str, Any]:
    return {
        "series": signal.series,
        "task": signal.measured.task,
        "variant": signal.measured.variant,
        "kind": signal.kind,
        "n": signal.n,
        "chance": signal.chance,
        "constant": signal.constant,
        **_metric_record(signal.main),
        "picks": signal.pick_bias and asdict(signal.pick_bias),
        "clearest_metric": signal.clearest and signal.clearest.metric,
        "agreement": signal.agreement and asdict(signal.agreement),
        "notes": signal.notes,
        "metrics": [_metric_record(metric) for metric in signal.metrics],
    }


def _metric_record(metric: MetricSignal) -> dict[str, Any]:
    rating = metric.rating
    return {"metric": metric.metric, "filter": metric.filter, **asdict(rating), "improved": rating.improved}
