"""What each curve shows, in a line: first to last, best with all that are as good, plateau, regression."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from milepost.analysis.row import Row
from milepost.analysis.training import GroupExtremes, TrainedCurve
from milepost.report.formatting import NOT_MEASURED, direction_arrow, number, plus_minus
from milepost.report.scores import figure_name
from milepost.report.wide import Wide
from milepost.safe_text import printable

TOO_FEW = "too few docs to tell"
NAMED = 4
"""So many checkpoints are named; more are counted."""
LEGEND = (
    "gain: last less first, with its 95 % interval over the same docs; as good: what the docs do not tell "
    "from the best (paired tests, Holm)"
)


def training(trained: Sequence[TrainedCurve], ends: Sequence[GroupExtremes] = ()) -> Iterator[RenderableType]:
    """A table per series, and the best and worst tasks of large groups."""
    of_series: dict[str, list[TrainedCurve]] = {}
    for one in trained:
        if len(one.curve.measured) > 1:
            of_series.setdefault(one.curve.series, []).append(one)
    for series, curves in of_series.items():
        yield Wide(_table(series, curves))
        yield Text()
    for group in ends:
        yield _ends(group)
    if of_series:
        yield Text(LEGEND, style="dim")
    for series in dict.fromkeys(one.curve.series for one in trained):
        if series not in of_series:
            yield Text(f"{printable(series)}: one checkpoint only, so there is no curve", style="dim")


def as_json(trained: Sequence[TrainedCurve]) -> str:
    """An array of objects, one per series and figure."""
    return json.dumps([_record(one) for one in trained], indent=1, ensure_ascii=False, allow_nan=False)


def _table(series: str, curves: Sequence[TrainedCurve]) -> Table:
    made = Table(
        title=Text(f"{printable(series)}: what the curves show", style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    made.add_column("")
    for heading in ("first", "last", "gain", "best", "as good", "worst", "mean", ""):
        made.add_column(heading, justify="left" if heading in ("", "as good") else "right", no_wrap=True)
    for one in curves:
        made.add_row(*(Text(cell) for cell in _cells(one)))
    return made


def _cells(one: TrainedCurve) -> list[str]:
    curve = one.curve
    rows, metric = curve.measured, curve.metric
    best, worst = _extremes(one)
    values = [row.value for row in rows if row.value is not None]
    name = f"{printable(curve.task)} {figure_name(metric, curve.filter)} "
    return [
        name + direction_arrow(rows[0].higher_is_better),
        _at(rows[0]),
        _at(rows[-1]),
        _gain(one),
        _at(best),
        _as_good(one),
        _at(worst),
        number(sum(values) / len(values), metric),
        remark(one),
    ]


def remark(one: TrainedCurve) -> str:
    """The most important of what a curve shows, in a few words."""
    dtypes = dict.fromkeys(row.dtype for row in one.curve.measured if row.dtype is not None)
    said, last = _shown(one), one.curve.rows[-1]
    if last.is_without_number and one.curve.measured:
        said = "; ".join(filter(None, (said, f"no figure at {_label(last)}")))
    return f"{said}; computed in {' and '.join(dtypes)}" if len(dtypes) > 1 else said


def _shown(one: TrainedCurve) -> str:
    shown = one.progress
    if len(one.curve.measured) < 2:
        return "one checkpoint only"
    if shown is not None and shown.too_few_docs:
        return TOO_FEW
    if one.curve.in_band:
        return "inside the constant-answer band, no improvement shown"
    if shown is None:
        return ""
    if shown.plateau_since == 0 and not shown.improved:
        return "no improvement shown"
    said = ["improved"] if shown.improved else []
    if shown.regressed:
        said.append("worse than its best")
    if shown.plateau_since:  # 0: told by the test of last against first alone
        said.append(f"no checkpoint since {_label(one.row(shown.plateau_since))} is better than it")
    return ", ".join(said)


def _extremes(one: TrainedCurve) -> tuple[Row, Row]:
    if one.progress is not None:
        return one.row(one.progress.best), one.row(one.progress.worst)
    best = one.curve.best
    assert best is not None  # `read_training` leaves out figures without a better and a worse
    sign = 1 if best.higher_is_better else -1
    return best, min(one.curve.measured, key=lambda row: sign * (row.value or 0.0))


def _gain(one: TrainedCurve) -> str:
    if one.gain is None:
        return NOT_MEASURED
    low, high = one.gain_interval
    sign = "+" if one.gain >= 0 else ""
    text = f"{sign}{number(one.gain, one.curve.metric)}"
    if low is None or high is None:
        return text
    return f"{text} [{number(low, one.curve.metric)}, {number(high, one.curve.metric)}]"


def _as_good(one: TrainedCurve) -> str:
    if one.progress is None or one.progress.too_few_docs:
        return NOT_MEASURED
    others = [_label(one.row(place)) for place in one.progress.as_good if place != one.progress.best]
    if not others:
        return "none"
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return ", ".join(others[-NAMED:]) + more


def _ends(of: GroupExtremes) -> Text:
    metric = of.group.metric
    lines = [f"{printable(of.group.task)} at {_label(of.group)}, {figure_name(metric, of.group.filter)}"]
    for heading, rows in (("highest", of.top), ("lowest", of.bottom)):
        if of.group.higher_is_better is False:
            heading = {"highest": "best", "lowest": "worst"}[heading]
        named = (
            f"{printable(row.task)} {plus_minus(row.value or 0.0, row.ci_low, row.ci_high, metric)}"
            for row in rows
        )
        lines.append(f"  {heading}: {'; '.join(named)}")
    return Text("\n".join(lines) + "\n")


def _at(row: Row) -> str:
    return f"{number(row.value or 0.0, row.metric)} at {_label(row)}"


def _label(row: Row) -> str:
    return printable(row.checkpoint) if row.step is None else str(row.step)


def _record(one: TrainedCurve) -> dict[str, Any]:
    curve, shown = one.curve, one.progress
    best, worst = _extremes(one)
    values = [row.value for row in curve.measured if row.value is not None]
    low, high = one.gain_interval
    return {
        "series": curve.series,
        "task": curve.task,
        "metric": curve.metric,
        "filter": curve.filter,
        "first": _point(curve.measured[0]),
        "last": _point(curve.measured[-1]),
        "gain": one.gain,
        "gain_ci_low": low,
        "gain_ci_high": high,
        "gain_p": None if shown is None else shown.gain_p,
        "improved": None if shown is None else shown.improved,
        "best": _point(best),
        "too_few_docs": None if shown is None else shown.too_few_docs,
        "as_good_as_best": None
        if shown is None or shown.too_few_docs
        else [_point(one.row(place)) for place in shown.as_good],
        "worst": _point(worst),
        "mean": sum(values) / len(values),
        "plateau_since": None
        if shown is None or shown.plateau_since is None
        else _point(one.row(shown.plateau_since)),
        "regressed": None if shown is None else shown.regressed,
        "inside_constant_answer_band": curve.in_band,
        "remark": remark(one),
    }


def _point(row: Row) -> dict[str, Any]:
    return {"checkpoint": row.checkpoint, "step": row.step, "value": row.value}
