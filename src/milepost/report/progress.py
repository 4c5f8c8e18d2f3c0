"""The table of what each curve shows: first to last, best and all that are as good, plateau, regression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from milepost.analysis.row import Row
from milepost.analysis.standing import best_row, standing
from milepost.analysis.training import GroupExtremes, TrainedCurve
from milepost.report.blocks import Block, Note
from milepost.report.formatting import (
    NOT_MEASURED,
    metric_heading,
    metric_name,
    number,
    plus_minus,
    signed,
    step_label,
)
from milepost.report.table import Table, cells, columns, grouped
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable

TOO_FEW = Phrase("too few docs to tell")
NAMED = 4
"""Checkpoints that are named; of the rest, the number is given."""
LEGEND = Phrase(
    "gain: last minus first, with its 95 % interval over the same docs; as good: checkpoints that the docs "
    "cannot tell from the best (paired tests, Holm)"
)
COLUMNS = columns("curve", "verdict", "gain", "first", "last", "best", "as good", "worst", "mean",
                  left=("curve", "verdict", "as good"), wraps=("verdict", "as good"),
                  headings={"curve": " "})  # fmt: skip


def progress_report(
    trained: Sequence[TrainedCurve], extremes: Sequence[GroupExtremes] = ()
) -> Iterator[Block]:
    """Yield a table per series, then the best and worst tasks of large groups."""
    through = grouped(
        (curve for curve in trained if len(curve.curve.measured) > 1), lambda curve: curve.curve.series
    )
    for series, its_curves in through.items():
        rows = tuple(cells(_texts(curve)) for curve in its_curves)
        yield Table(COLUMNS, rows, title=Phrase("{series}: what the curves show", series=printable(series)))
        yield ""
    for group in extremes:
        yield from _extremes_of_group(group)
    if through:
        yield Note(LEGEND)
    for series in dict.fromkeys(curve.curve.series for curve in trained):
        if series not in through:
            yield Note(
                Phrase("{series}: one checkpoint only, so there is no curve", series=printable(series))
            )


def progress_records(trained: Sequence[TrainedCurve]) -> list[dict[str, Any]]:
    """Return an object per series and metric."""
    return [_record(curve) for curve in trained]


def remark(trained: TrainedCurve) -> str:
    """Return the most important of what a curve shows, in a few words."""
    dtypes = dict.fromkeys(row.dtype for row in trained.curve.measured if row.dtype is not None)
    text, last = _verdict(trained), trained.curve.rows[-1]
    if last.is_without_number and trained.curve.measured:
        lacks = Phrase("no value at {step}", step=_label(last))
        text = joined("; ", filter(None, (text, lacks)))
    if len(dtypes) > 1:
        text = joined("; ", (text, Phrase("computed in {dtypes}", dtypes=", ".join(dtypes))))
    return text


def _texts(trained: TrainedCurve) -> list[str]:
    curve = trained.curve
    rows, metric = curve.measured, curve.metric
    best, worst = best_and_worst(trained)
    return [
        joined(" ", (printable(curve.task), metric_heading(metric, curve.filter, rows[0].higher_is_better))),
        remark(trained),
        gain_text(trained),
        _value_at(rows[0]),
        _value_at(rows[-1]),
        NOT_MEASURED if best_row(curve) is None else _value_at(best),
        _as_good(trained),
        _value_at(worst),
        number(_mean(rows), metric),
    ]


def _verdict(trained: TrainedCurve) -> str:
    """Return the verdict of `analysis.standing`, then what the docs add to it."""
    progress, shown = trained.progress, standing(trained.curve)
    assert shown is not None  # `read_training` leaves out metrics without a better and a worse
    if shown.verdict == "one checkpoint":
        return Phrase("one checkpoint only")
    if shown.verdict == "too few docs" or (progress is not None and progress.too_few_docs):
        return TOO_FEW
    if shown.at_chance:
        return Phrase("at chance: {reason}", reason=shown.reason)
    parts: list[str] = [Phrase(shown.verdict)]
    if (
        shown.verdict in ("too few checkpoints", "no steady trend", "no trend")
        and progress is not None
        and progress.improved
    ):
        parts.append(Phrase("the last is better than the first"))
    if progress is not None and progress.regressed:
        parts.append(Phrase("worse than its best"))
    if progress is not None and shown.improved and progress.plateau_since:
        since = _label(trained.row(progress.plateau_since))
        parts.append(Phrase("no checkpoint since {since} is better than it", since=since))
    return joined(", ", parts)


def best_and_worst(trained: TrainedCurve) -> tuple[Row, Row]:
    """Return the best and the worst row."""
    if trained.progress is not None:
        return trained.row(trained.progress.best), trained.row(trained.progress.worst)
    best = trained.curve.best
    assert best is not None  # `read_training` leaves out metrics without a better and a worse
    sign = 1 if best.higher_is_better else -1
    return best, min(trained.curve.measured, key=lambda row: sign * (row.value or 0.0))


def gain_text(trained: TrainedCurve) -> str:
    """Return last minus first with its interval; a dash where there is none."""
    if trained.gain is None:
        return NOT_MEASURED
    metric = trained.curve.metric
    low, high = trained.gain_interval
    text = _signed(trained.gain, metric)
    if low is None or high is None:
        return text
    return f"{text} [{_signed(low, metric)}, {_signed(high, metric)}]"


def _signed(difference: float, metric: str) -> str:
    return signed(difference, metric, beside=difference)


def _as_good(trained: TrainedCurve) -> str:
    progress = trained.progress
    if progress is None or progress.too_few_docs or best_row(trained.curve) is None:
        return NOT_MEASURED
    others = [_label(trained.row(place)) for place in progress.as_good if place != progress.best]
    if not others:
        return "none"
    names, more = ", ".join(others[-NAMED:]), len(others) - NAMED
    return Phrase("{names} and {n} more", names=names, n=more) if more > 0 else names


def _extremes_of_group(extremes: GroupExtremes) -> Iterator[str]:
    group = extremes.group
    yield Phrase(
        "{task} at {place}, {metric}",
        task=printable(group.label),
        place=_label(group),
        metric=metric_name(group.metric, group.filter),
    )
    names = (
        (Phrase("best"), Phrase("worst"))
        if group.higher_is_better is False
        else (Phrase("highest"), Phrase("lowest"))
    )
    for name, rows in zip(names, (extremes.top, extremes.bottom), strict=True):
        texts = (
            f"{printable(row.task)} {plus_minus(row.value or 0.0, row.ci_low, row.ci_high, group.metric)}"
            for row in rows
        )
        yield joined("", ("  ", name, ": ", "; ".join(texts)))
    yield ""


def _value_at(row: Row) -> str:
    return Phrase("{value} at {place}", value=number(row.value or 0.0, row.metric), place=_label(row))


def _label(row: Row) -> str:
    return step_label(row.step, row.checkpoint)


def _mean(rows: Sequence[Row]) -> float:
    values = [row.value for row in rows if row.value is not None]
    return sum(values) / len(values)


def _record(trained: TrainedCurve) -> dict[str, Any]:
    curve, progress, shown = trained.curve, trained.progress, standing(trained.curve)
    best, worst = best_and_worst(trained)
    return {
        "series": curve.series,
        "task": curve.rows[0].task,
        "variant": curve.rows[0].variant,
        "metric": curve.metric,
        "filter": curve.filter,
        "first": _point(curve.measured[0]),
        "last": _point(curve.measured[-1]),
        "gain": trained.gain,
        "gain_ci_low": trained.gain_interval[0],
        "gain_ci_high": trained.gain_interval[1],
        "gain_p": progress and progress.gain_p,
        "verdict": shown and shown.verdict,
        "improved": shown and shown.improved,
        "at_chance": shown and shown.at_chance,
        "stands_out": shown is not None and shown.best is not None,
        "best": _point(best),
        "too_few_docs": progress and progress.too_few_docs,
        "as_good_as_best": None
        if progress is None or progress.too_few_docs
        else [_point(trained.row(place)) for place in progress.as_good],
        "worst": _point(worst),
        "mean": _mean(curve.measured),
        "plateau_since": None
        if progress is None or progress.plateau_since is None
        else _point(trained.row(progress.plateau_since)),
        "regressed": progress and progress.regressed,
        "inside_constant_answer_band": shown is not None and shown.in_band,
        "remark": remark(trained),
    }


def _point(row: Row) -> dict[str, Any]:
    return {"checkpoint": row.checkpoint, "step": row.step, "value": row.value}
