"""Figures and foreign names as text. Knows no table and no chart."""

from __future__ import annotations

import math
import re

from milepost.analysis.metric_kinds import is_proportion
from milepost.safe_text import printable

NO_NUMBER = "nan"
NOT_MEASURED = "–"


def number(value: float, metric: str) -> str:
    """A figure as lm_eval's readers expect it: four decimals for shares, else five significant digits."""
    return f"{value:.{_decimals(value, metric)}f}" if abs(value) < 1e7 else f"{value:.3e}"


def signed(difference: float, metric: str, *, beside: float) -> str:
    """A difference of figures, with its sign and the decimals that the figure `beside` is printed with."""
    text = _like(beside, abs(difference), metric)
    return f"{'−' if difference < 0 else '+'}{text}"


def plus_minus(value: float, low: float | None, high: float | None, metric: str) -> str:
    """`0.2511 ± 0.0072`, or where the halves of the interval differ `0.0000 −0.0000 +0.0370`."""
    figure = number(value, metric)
    if low is None or high is None:
        return figure
    below, above = (_like(value, half, metric) for half in (value - low, high - value))
    return f"{figure} ± {above}" if below == above else f"{figure} −{below} +{above}"


def direction_arrow(higher_is_better: bool | None) -> str:
    """↑ where higher is better, ↓ where lower is, nothing where the metric has no direction."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, broken after a space or inside a name after `_`, `/`, `-`."""
    lines = [""]
    for piece in re.findall(rf"[^\s_/-]{{1,{width - 1}}}[\s_/-]*|[\s_/-]+", text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()]


def _like(value: float, half: float, metric: str) -> str:
    return f"{half:.{_decimals(value, metric)}f}" if abs(value) < 1e7 else f"{half:.3e}"


def _decimals(value: float, metric: str) -> int:
    if is_proportion(metric) or abs(value) < 1:
        return 4
    return max(0, 4 - math.floor(math.log10(abs(value))))


def model_name(series: str, checkpoint: str) -> str:
    """Series and checkpoint; one of them where they are the same, as for a folder that is a model."""
    return printable(series if series == checkpoint else f"{series} {checkpoint}")
