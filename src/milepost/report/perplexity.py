"""Perplexities of one text as tables, and each gap between conventions as factors. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from milepost.analysis.perplexity import Convention, Gap, TextPerplexity
from milepost.report.formatting import model_name, plus_minus
from milepost.safe_text import printable

LABELS = {
    "fixed": "fixed windows",
    "strided": "strided windows",
    "strided_guide": "strided, transformers' guide",
    "word_perplexity": "lm_eval word_perplexity",
    "byte_perplexity": "lm_eval byte_perplexity",
    "bits_per_byte": "lm_eval bits_per_byte",
}


def as_records(found: Sequence[TextPerplexity]) -> list[dict[str, Any]]:
    """Everything as plain mappings, for JSON; ratios and factors beside their logarithms."""
    return [_record(one) for one in found]


def view(found: Sequence[TextPerplexity]) -> RenderableType:
    """The text, a table of the conventions, and each gap explained at the last checkpoint of a series."""
    parts: list[RenderableType] = []
    of_series: dict[str, list[TextPerplexity]] = {}
    for one in found:
        of_series.setdefault(one.series, []).append(one)
    for own in of_series.values():
        parts.append(Text(_heading(own[-1])))
    parts.append(Text())
    if len(found) <= 2 or len(of_series) == len(found):
        parts += [_beside(found), Text()]
    else:
        parts += [part for own in of_series.values() for part in (_through(own), Text())]
    for own in of_series.values():
        if own[-1].gaps:
            parts += [_explanation(own[-1])]
    return Group(*parts)


def _name(one: TextPerplexity) -> str:
    return model_name(one.series, one.checkpoint)


def _heading(one: TextPerplexity) -> str:
    counts = [f"{one.n_words:,} words", f"{one.n_bytes:,} bytes"]
    if one.n_tokens is not None:
        counts.append(f"{one.n_tokens:,} tokens")
    windows = f"{one.n_windows:,} windows of {one.seqlen:,}, stride {one.stride:,}, context {one.context:,}"
    return f"{printable(one.text)} for {printable(one.series)}: {', '.join(counts)}; {windows}"


def _beside(found: Sequence[TextPerplexity]) -> Table:
    """Conventions down, models across; two models with their ratio."""
    made = _table()
    made.add_column("convention", no_wrap=True)
    made.add_column("per", no_wrap=True)
    for one in found:
        widest = max(len(_figure(convention)) for convention in one.conventions)
        made.add_column(Text(_name(one), overflow="fold"), justify="right", min_width=widest)
    if len(found) == 2:
        made.add_column("ratio", justify="right", no_wrap=True, min_width=6)
    for convention in found[0].conventions:
        cells = [one.convention(convention.name) for one in found]
        ratio = [f"{math.exp(cells[1].ln_value - cells[0].ln_value):.4f}"] if len(found) == 2 else []
        made.add_row(LABELS[convention.name], convention.unit, *(_figure(cell) for cell in cells), *ratio)
    return made


def _through(own: Sequence[TextPerplexity]) -> Table:
    """Checkpoints down, conventions across."""
    made = _table(title=printable(own[0].series))
    made.add_column("step", justify="right", no_wrap=True)
    shown = [convention.name for convention in own[0].conventions if convention.name != "strided_guide"]
    cells = [[_figure(one.convention(name), interval=False) for name in shown] for one in own]
    for name, column in zip(shown, zip(*cells, strict=True), strict=True):
        widest = max(len(cell) for cell in column)
        made.add_column(LABELS[name].replace(" ", "\n", 1), justify="right", no_wrap=True, min_width=widest)
    for one, row in zip(own, cells, strict=True):
        made.add_row(printable(one.checkpoint) if one.step is None else str(one.step), *row)
    return made


def _explanation(one: TextPerplexity) -> RenderableType:
    parts: list[RenderableType] = []
    for gap in one.gaps:
        start, end = one.convention(gap.start), one.convention(gap.end)
        title = (
            f"{_name(one)}: {LABELS[start.name]} {_figure(start, interval=False)}"
            f" → {LABELS[end.name]} {_figure(end, interval=False)}"
        )
        parts.append(Text(title, style="bold"))
        if end.name == "bits_per_byte":
            parts.append(Text("the binary logarithm of byte_perplexity: log2(x) = ln(x) / ln(2)"))
        else:
            parts += [_factors(gap), Text(_by_kind(gap))]
        parts.append(Text())
    return Group(*parts)


def _factors(gap: Gap) -> Table:
    made = _table()
    made.add_column("factor", justify="right", no_wrap=True)
    made.add_column("nats", justify="right", no_wrap=True)
    made.add_column("of", no_wrap=True)
    made.add_column("what changes")
    for factor in gap.factors:
        nats = f"{factor.ln_factor:+.5f}"
        made.add_row(f"× {_times(factor.ln_factor)}", nats, factor.kind, factor.change)
    made.add_section()
    ratio = f"the two figures' ratio is {_times(gap.ln_ratio)}"
    made.add_row(f"= {_times(gap.ln_product)}", f"{gap.ln_product:+.5f}", "", ratio)
    return made


def _by_kind(gap: Gap) -> str:
    return "together: " + ", ".join(f"{kind} × {_times(ln)}" for kind, ln in gap.by_kind().items())


def _times(ln: float) -> str:
    """A factor with enough digits to be multiplied by hand."""
    return f"e^{ln:.5f}" if abs(ln) > 16 else f"{math.exp(ln):#.6g}"


def _figure(convention: Convention, *, interval: bool = True) -> str:
    if convention.value is None:
        return f"e^{convention.ln_value:.2f}"
    low, high = (convention.ci_low, convention.ci_high) if interval else (None, None)
    return plus_minus(convention.value, low, high, convention.metric)


def _table(title: str | None = None) -> Table:
    return Table(
        title=None if title is None else Text(title, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )


def _record(one: TextPerplexity) -> dict[str, Any]:
    plain = asdict(one)
    plain["conventions"] = {convention.pop("name"): convention for convention in plain["conventions"]}
    plain["gaps"] = [_gap_record(gap) for gap in one.gaps]
    return plain


def _gap_record(gap: Gap) -> dict[str, Any]:
    return {
        "from": gap.start,
        "to": gap.end,
        "ratio": gap.ratio,
        "ln_ratio": gap.ln_ratio,
        "ln_product": gap.ln_product,
        "by_kind": {kind: {"ln_factor": ln} for kind, ln in gap.by_kind().items()},
        "factors": [
            {
                "kind": factor.kind,
                "change": factor.change,
                "factor": factor.factor,
                "ln_factor": factor.ln_factor,
                "measured_by": factor.task,
            }
            for factor in gap.factors
        ],
    }
