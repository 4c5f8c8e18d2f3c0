"""Write metrics, steps and foreign names as text."""

from __future__ import annotations

import datetime
import math
import re

from milepost.analysis.metric_kinds import is_proportion
from milepost.text.language import ngettext
from milepost.text.safe_text import printable

NO_NUMBER = "nan"
NOT_MEASURED = "–"


def number(value: float, metric: str) -> str:
    """Return a value with four decimals if it is a share, as lm_eval prints it, else with five digits."""
    return _like(value, value, metric).replace("-", "−")


def signed(difference: float, metric: str, *, beside: float) -> str:
    """Return a difference with its sign and the decimals that the value `beside` is printed with."""
    return f"{'−' if difference < 0 else '+'}{_like(beside, abs(difference), metric)}"


def plus_minus(value: float, low: float | None, high: float | None, metric: str) -> str:
    """Return `0.2511 ± 0.0072`, or `0.0000 −0.0000 +0.0370` where the halves of the interval differ."""
    text = number(value, metric)
    if low is None or high is None:
        return text
    below, above = (_like(value, half, metric) for half in (value - low, high - value))
    return f"{text} ± {above}" if below == above else f"{text} −{below} +{above}"


def decimals(value: float | None, places: int, *, sign: bool = False) -> str:
    """Return a number with fixed decimals, a minus sign and no negative zero; a dash for None.

    Args:
        sign: also write the plus of a value that is not negative.
    """
    if value is None:
        return NOT_MEASURED
    text = f"{round(value, places) + 0.0:{'+' if sign else ''}.{places}f}"
    return text.replace("-", "−")


def direction_arrow(higher_is_better: bool | None) -> str:
    """Return ↑ where higher is better, ↓ where lower is, and nothing where the metric has no direction."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def metric_name(metric: str, filter_name: str) -> str:
    """Return `acc`, or `exact_match (strict-match)` where the metric comes through a filter."""
    return printable(metric if filter_name in ("", "none") else f"{metric} ({filter_name})")


def metric_heading(metric: str, filter_name: str, higher_is_better: bool | None) -> str:
    """Return the metric's name with the arrow of its direction."""
    return f"{metric_name(metric, filter_name)} {direction_arrow(higher_is_better)}".strip()


def compact(number: float) -> str:
    """Return a count in as few characters as tell it: `800`, `12k`, `2,345`, `1.2B`.

    A number is only shortened where nothing, or next to nothing, is lost: from a million on, to three digits.
    """
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    if number >= 1000 and number % 100 == 0:
        return f"{number / 1000:g}k"
    return f"{number:,g}"


def step_label(step: int | None, checkpoint: str) -> str:
    """Return the step, or the checkpoint's name where it has no step."""
    return printable(checkpoint) if step is None else str(step)


def model_name(series: str, checkpoint: str) -> str:
    """Return series and checkpoint, or one of them where they are equal, as for a folder that is a model."""
    return printable(series if series == checkpoint else f"{series} {checkpoint}")


def training_runs(n: int) -> str:
    """Return `3 training runs`."""
    return ngettext("{n} training run", "{n} training runs", n)


def utc_time(seconds: float, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """Return seconds since 1970 as a date and time."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(form)


def printable_lines(text: str) -> str:
    """Return foreign text with its lines kept and every other control character spelled out."""
    return "\n".join(map(printable, text.split("\n")))


def wrapped(text: str, width: int) -> list[str]:
    """Return lines of at most `width` characters, broken after a space, `_`, `/` or `-`."""
    lines = [""]
    for piece in re.findall(rf"[^\s_/-]{{1,{width - 1}}}[\s_/-]*|[\s_/-]+", text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()]


def _like(value: float, part: float, metric: str) -> str:
    """Return `part` with the decimals that suit `value`."""
    if abs(value) >= 1e7:
        return f"{part:.3e}"
    places = 4 if is_proportion(metric) or abs(value) < 1 else max(0, 4 - math.floor(math.log10(abs(value))))
    return f"{part:.{places}f}"
