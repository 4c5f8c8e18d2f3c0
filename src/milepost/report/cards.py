"""Cards of an overview: a curve at a glance, with its verdict."""

from __future__ import annotations

from collections.abc import Mapping

from milepost.analysis.learning_state import learning_state
from milepost.analysis.row import Row
from milepost.analysis.training import TrainedCurve
from milepost.report.blocks import Card, Mood, Sparkline, Verdict
from milepost.report.formatting import compact, metric_heading, number
from milepost.report.progress import best_and_worst, gain_text
from milepost.text.language import Phrase, _, ngettext
from milepost.text.safe_text import printable

MOODS: Mapping[str, Mood] = {
    Phrase("one checkpoint only"): "",
    Phrase("too few docs to tell"): "",
    Phrase("inside the constant-answer band"): "waiting",
    Phrase("at chance"): "waiting",
    Phrase("worse than its best"): "bad",
    Phrase("plateau"): "still",
    Phrase("still learning"): "good",
    Phrase("better, no steady trend"): "still",
    Phrase("no improvement shown"): "still",
}
"""By `LearningState`."""


def verdict(trained: TrainedCurve) -> Verdict:
    """Return where a curve stands, in words."""
    state = learning_state(trained)
    return Verdict(_(state), MOODS[state])


def curve_card(trained: TrainedCurve, *, href: str = "") -> Card:
    """Return a curve's last value with its interval, its sparkline, its verdict, best value and gain.

    Args:
        trained: has at least one value.
        href: where more of it is.
    """
    curve = trained.curve
    last, metric = curve.measured[-1], curve.metric
    best = best_and_worst(trained)[0]
    facts = [(_("best"), _value_at(best))]
    if trained.gain is not None:
        facts.append((_("gain"), gain_text(trained)))
    docs = ngettext("{docs} doc", "{docs} docs", last.n, docs=format(last.n, ","))
    facts.append((_("last"), f"{_place(last)}, {docs}"))
    return Card(
        printable(curve.task),
        number(last.value or 0.0, metric),
        about=metric_heading(metric, curve.filter, last.higher_is_better),
        beside=interval_text(last),
        sparkline=sparkline(trained) if len(curve.measured) > 1 else None,
        verdict=verdict(trained),
        facts=tuple(facts),
        href=href,
    )


def sparkline(trained: TrainedCurve) -> Sparkline:
    """Return the curve with its band and its chance line, checkpoints at even distances."""
    curve = trained.curve
    first, last = curve.measured[0], curve.measured[-1]
    return Sparkline(
        f"{printable(curve.task)}: {_value_at(first)}, {_value_at(last)}",
        tuple(row.value for row in curve.rows),
        tuple(row.ci_low for row in curve.rows),
        tuple(row.ci_high for row in curve.rows),
        level=curve.chance,
    )


def interval_text(row: Row) -> str:
    """Return the ends of a value's interval; nothing without one."""
    if row.ci_low is None or row.ci_high is None:
        return ""
    return f"[{number(row.ci_low, row.metric)}, {number(row.ci_high, row.metric)}]"


def _value_at(row: Row) -> str:
    return _("{value} at {place}", value=number(row.value or 0.0, row.metric), place=_place(row))


def _place(row: Row) -> str:
    if row.step is None:
        return printable(row.checkpoint)
    return _("step {step}", step=compact(row.step))
