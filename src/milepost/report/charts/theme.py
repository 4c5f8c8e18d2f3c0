"""Colours, shapes and fonts of charts, for light and for dark paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
"""Okabe and Ito's colour-blind safe colours (jfly.uni-koeln.de/color, 2008) without yellow and black, which
vanish on white and on dark paper, and with a grey."""
ON_DARK = dict(
    zip(
        PALETTE,
        ("#5CB8F5", "#FF8F3F", "#2FCB9B", "#EBA3CC", "#F4C04A", "#B4BDFF", "#B0B0B0"),
        strict=True,
    )
)
"""The same hues, lighter, for dark paper: a page's script puts them in their places."""
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [12, 4])
"""7 colours, 8 shapes and 5 dashes have no common factor: 280 series look different, in grey as well."""

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, Noto Sans CJK SC, sans-serif"


def _config(ink: str, soft: str, faint: str, paper: str | None) -> dict[str, Any]:
    return {
        "background": paper,
        "font": FONT,
        "view": {"stroke": None},
        "title": {
            "color": ink,
            "subtitleColor": soft,
            "fontSize": 13,
            "subtitleFontSize": 11,
            "anchor": "start",
        },
        "axis": {
            "labelColor": soft,
            "titleColor": soft,
            "titleFontWeight": "normal",
            "labelFontSize": 11,
            "titleFontSize": 11,
            "gridColor": faint,
            "domainColor": soft,
            "tickColor": soft,
            "tickSize": 4,
        },
        "legend": {
            "labelColor": ink,
            "labelFontSize": 12,
            "labelLimit": 0,
            "symbolOpacity": 1,
            "symbolStrokeWidth": 0,
        },
        "style": {
            "constant": {"color": soft, "opacity": 0.16, "strokeWidth": 0},
            "chance": {"color": soft, "strokeDash": [5, 4], "strokeWidth": 1.2},
            "chance-label": {"color": soft, "fontSize": 10, "align": "left", "baseline": "middle"},
            "pin": {"color": ink, "strokeWidth": 1.2, "opacity": 0.7},
            "best": {"color": ink, "strokeWidth": 1.3, "filled": False, "size": 150, "opacity": 1},
        },
    }


LIGHT = _config(ink="#1b1b1b", soft="#595959", faint="#e4e4e4", paper="white")
DARK = _config(ink="#f0f0f0", soft="#b4b4b4", faint="#3a3a3a", paper=None)
"""For pages, which bring their own paper."""

FITTED = {"type": "fit", "contains": "padding"}
"""The size of a chart that fills its place on a page: axes, titles and legends are inside."""


def looks_of(field: str, names: Sequence[str], legend: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the encodings of colour, shape and dash by which these names, in a field, are told apart."""

    def encoding(looks: Sequence[Any]) -> dict[str, Any]:
        scale = {"domain": list(names), "range": [looks[i % len(looks)] for i in range(len(names))]}
        return {"field": field, "type": "nominal", "scale": scale, "legend": legend}

    return {"color": encoding(PALETTE), "shape": encoding(SHAPES), "strokeDash": encoding(DASHES)}
