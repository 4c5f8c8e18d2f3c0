"""The tables and sentences of a comparison as plain text. Knows no output format.

The terminal, Markdown and HTML are all made from these, so they say the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.analysis.verdicts import MetricDifference, Verdict
from milepost.byte_sizes import format_bytes
from milepost.report.comparison.records import PERPLEXITIES
from milepost.report.comparison.study import ReportedModel, Study, Variant
from milepost.report.formatting import NOT_MEASURED, direction_arrow, number, signed
from milepost.report.scores import figure_name
from milepost.safe_text import printable
from milepost.types import Sparsity


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """Rows of cells; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    verdicts: tuple[Verdict | None, ...] = ()
    """One per row, for colours; empty where rows have none."""
    note: str = ""


COLUMNS = (
    "task",
    "metric",
    "docs",
    "original",
    "other",
    "difference [95 %]",
    "verdict",
    "relative",
    "p",
    "p Holm",
    "lost / gained",
    "could show",
)
VERDICT = COLUMNS.index("verdict")

HOW_TO_READ = (
    "Both models are compared on the same docs. The interval is that of the paired difference. "
    "The p-value is exact McNemar's where a doc is right or wrong, else that of the mean difference "
    "(Student's t, corrected for skewness). "
    "`p Holm` is adjusted for the number of tests: of tasks, of subjects inside groups, or of other figures. "
    "The verdict is worse or better where it is below 0.05, "
    "and `too few docs to tell` where so few docs could show no difference at all. "
    "`lost / gained`: docs that only the original, and only the other model, gets right. "
    "`could show`: the smallest true difference that docs like these would reveal in four of five samples, "
    "the number of tests taken into account; "
    "a smaller one may be there and not be seen."
)


def headline(study: Study, variant: Variant) -> str:
    """What changed, in a sentence."""
    comparison = variant.comparison
    parts = []
    for verdict in ("worse", "better", "different", "not distinguishable", "too few docs to tell"):
        names = [printable(name) for name in comparison.of(verdict)]
        if names:
            shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            parts.append(f"{verdict} on {len(names)} ({shown})")
    told = "; ".join(parts) if parts else "no task could be compared"
    return f"{study.label(variant.model)}: {told}, of {len(comparison.tasks)} compared"


def models_table(study: Study) -> TextTable:
    """One row per model: where it is, how large, how sparse."""
    return TextTable(
        title="Models",
        columns=("model", "zeros in linear layers", "pattern", "parameters", "not zero", "on disk", "path"),
        rows=tuple(_model_row(study, model) for model in study.models),
    )


def _model_row(study: Study, model: ReportedModel) -> tuple[str, ...]:
    path = printable(model.answers.source)
    counted = model.sparsity
    if counted is None:
        return (study.label(model), *[NOT_MEASURED] * 5, path)
    return (
        study.label(model),
        f"{counted.share:.2%}",
        patterns_in_words(counted),
        f"{counted.n_parameters:,}",
        f"{counted.n_parameters - counted.n_zeros:,}",
        format_bytes(counted.bytes_on_disk),
        path,
    )


def uncounted(study: Study) -> list[str]:
    """Why there are no zeros of a model, a line each."""
    return [
        f"{study.label(model)}: zeros not counted, {printable(model.without_sparsity)}"
        for model in study.models
        if model.sparsity is None
    ]


def patterns_in_words(sparsity: Sparsity) -> str:
    """`2:4`, or `2:4 in 28 layers, dense in 4`."""
    patterns = sparsity.patterns
    if not patterns:
        return NOT_MEASURED
    if len(patterns) == 1:
        return next(iter(patterns))
    return ", ".join(f"{name} in {count}" for name, count in patterns.items())


def layers_table(study: Study, model: ReportedModel) -> TextTable | None:
    """One row per linear layer; None where nothing was counted or nothing is zero."""
    counted = model.sparsity
    if counted is None or not any(layer.zeros for layer in counted.layers):
        return None
    layers = counted.layers if counted.head is None else (*counted.layers, counted.head)
    return TextTable(
        title=f"Zeros per layer of {study.label(model)}",
        columns=("layer", "shape", "zeros", "share", "pattern"),
        rows=tuple(
            (
                printable(layer.name),
                " x ".join(map(str, layer.shape)),
                f"{layer.zeros:,}",
                f"{layer.share:.2%}",
                layer.pattern,
            )
            for layer in layers
        ),
        note="" if counted.head is None else "The output head is no part of the total.",
    )


def overview_table(study: Study) -> TextTable | None:
    """Tasks down, models across; None for a single variant, whose own table says it all."""
    if len(study.variants) < 2:
        return None
    found: dict[tuple[str, str, str], dict[int, MetricDifference]] = {}
    for place, variant in enumerate(study.variants):
        for one in variant.comparison.tasks:
            found.setdefault((one.task, one.metric, one.filter), {})[place] = one
    rows = []
    for (task, metric, filter), of in found.items():
        first = next(iter(of.values()))
        cells = [_with_verdict(of[i]) if i in of else NOT_MEASURED for i in range(len(study.variants))]
        name = f"{figure_name(metric, filter)} {direction_arrow(first.higher_is_better)}".strip()
        rows.append((printable(task), name, number(first.original, metric), *cells))
    labels = [study.label(model) for model in study.models]
    return TextTable(title="All variants", columns=("task", "metric", *labels), rows=tuple(rows))


def _with_verdict(one: MetricDifference) -> str:
    figure = number(one.other, one.metric)
    return f"{figure} {one.verdict}" if one.verdict in ("worse", "better", "different") else figure


def figures_table(title: str, compared: Sequence[MetricDifference], note: str = "") -> TextTable | None:
    """One row per figure; None where there is none."""
    if not compared:
        return None
    return TextTable(
        title=title,
        columns=COLUMNS,
        rows=tuple(_figure_row(one) for one in compared),
        verdicts=tuple(one.verdict for one in compared),
        note=note,
    )


def variant_tables(variant: Variant) -> list[TextTable]:
    """The figures of one variant: tasks, perplexities, subjects hurt most, all others."""
    comparison = variant.comparison
    perplexities = [one for one in (*comparison.tasks, *comparison.others) if one.metric in PERPLEXITIES]
    others = [one for one in comparison.others if one.metric not in PERPLEXITIES]
    hurt = comparison.hurt_most()
    lower = sum(one.verdict == "worse" for one in comparison.subjects)
    tables = (
        figures_table("Tasks", comparison.tasks),
        figures_table("Perplexities", perplexities),
        figures_table(
            "Subjects hurt most",
            hurt,
            f"Of {len(comparison.subjects)} inside groups, {lower} are worse (Holm over all of them).",
        ),
        figures_table("Other figures", others),
    )
    return [table for table in tables if table is not None]


def _figure_row(one: MetricDifference) -> tuple[str, ...]:
    metric = f"{figure_name(one.metric, one.filter)} {direction_arrow(one.higher_is_better)}".strip()
    most = max(one.docs.original, one.docs.other)
    return (
        printable(one.task),
        metric,
        f"{one.docs.common:,}" if one.docs.common == most else f"{one.docs.common:,} of {most:,}",
        number(one.original, one.metric),
        number(one.other, one.metric),
        _difference(one),
        one.verdict,
        NOT_MEASURED if one.relative is None else _percent(one.relative),
        p_value(one.p_value),
        p_value(one.p_adjusted),
        NOT_MEASURED if one.flips is None else f"{one.flips.lost:,} / {one.flips.gained:,}",
        number(one.smallest, one.metric) if math.isfinite(one.smallest) else "nothing",
    )


def _difference(one: MetricDifference) -> str:
    text = signed(one.difference, one.metric, beside=one.original)
    low, high = one.interval
    if low is None or high is None:
        return text
    ends = ", ".join(signed(end, one.metric, beside=one.original) for end in (low, high))
    return f"{text} [{ends}]"


def _percent(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{abs(share):.1%}"


def p_value(p: float) -> str:
    """Four decimals; below them, that it is less."""
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"
