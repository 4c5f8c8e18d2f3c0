"""The tables and sentences of a comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence

from milepost.analysis.verdicts import MetricDifference
from milepost.report.comparison.records import PERPLEXITIES
from milepost.report.comparison.study import ReportedModel, Study, Variant
from milepost.report.formatting import NOT_MEASURED, metric_heading, number, signed
from milepost.report.table import VERDICT_TONES, Cell, CellRow, Column, Table, Tone, cells, columns, grouped
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable
from milepost.types.sparsity import Sparsity

COLUMNS = columns(
    "task", "verdict", "metric", "original", "other", "difference [95 %]", "docs", "lost / gained",
    "could show", "relative", "p", "p Holm", wraps=("task", "verdict", "metric"),
)  # fmt: skip

HOW_TO_READ = Phrase(
    "Both models are compared on the same docs. The interval is that of the paired difference. "
    "The p-value is exact McNemar's where a doc is right or wrong, else that of the mean difference "
    "(Student's t, corrected for skewness). "
    '"p Holm" is adjusted for the number of tests: of tasks, of subjects inside groups, or of other metrics. '
    "The verdict is worse or better where it is below 0.05, "
    'and "too few docs to tell" where so few docs could show no difference at all. '
    '"lost / gained": docs that only the original, and only the other model, gets right. '
    '"could show": the smallest true difference that docs like these would reveal in four of five samples, '
    "the number of tests taken into account; "
    "a smaller one may be there and not be seen."
)


def headline(study: Study, variant: Variant) -> str:
    """Return in a sentence what changed."""
    comparison = variant.comparison
    parts = []
    for verdict in ("worse", "better", "different", "not distinguishable", "too few docs to tell"):
        names = [printable(name) for name in comparison.of(verdict)]
        if names:
            shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            parts.append(
                Phrase("{verdict} on {n} ({names})", verdict=Phrase(verdict), n=len(names), names=shown)
            )
    return Phrase(
        "{model}: {found}, of {n} compared",
        model=study.label(variant.model),
        found=joined("; ", parts) if parts else Phrase("no task could be compared"),
        n=len(comparison.tasks),
    )


def models_table(study: Study) -> Table:
    """Return one row per model: where it is, how large, how sparse."""
    rows = (cells(_model_row(study, model)) for model in study.models)
    return Table(
        columns(
            "model", "zeros in linear layers", "pattern", "parameters", "not zero", "on disk", "path",
            left=("model", "path"),
        ),
        tuple(rows),
        title=Phrase("Models"),
    )  # fmt: skip


def _model_row(study: Study, model: ReportedModel) -> tuple[str, ...]:
    path = printable(model.answers.source)
    sparsity = model.sparsity
    if sparsity is None:
        return (study.label(model), *[NOT_MEASURED] * 5, path)
    return (
        study.label(model),
        f"{sparsity.share:.2%}",
        patterns_in_words(sparsity),
        f"{sparsity.n_parameters:,}",
        f"{sparsity.n_parameters - sparsity.n_zeros:,}",
        format_bytes(sparsity.bytes_on_disk),
        path,
    )


def uncounted(study: Study) -> list[str]:
    """Return a line per reason why zeros were not counted, with the models."""
    lacking = [model for model in study.models if model.sparsity is None]
    return [
        Phrase(
            "{model}: zeros not counted, {reason}",
            model=joined(", ", map(study.label, own)),
            reason=printable(reason),
        )
        for reason, own in grouped(lacking, lambda model: model.without_sparsity).items()
    ]


def patterns_in_words(sparsity: Sparsity) -> str:
    """Return `2:4`, or `2:4 in 28, dense in 4`."""
    patterns = sparsity.patterns
    if len(patterns) == 1:
        return next(iter(patterns))
    return ", ".join(f"{name} in {count}" for name, count in patterns.items()) or NOT_MEASURED


def layers_table(study: Study, model: ReportedModel) -> Table | None:
    """Return one row per linear layer; None where nothing was counted or nothing is zero."""
    sparsity = model.sparsity
    if sparsity is None or not any(layer.zeros for layer in sparsity.layers):
        return None
    layers = sparsity.layers if sparsity.head is None else (*sparsity.layers, sparsity.head)
    rows = (
        (
            printable(layer.name),
            " x ".join(map(str, layer.shape)),
            f"{layer.zeros:,}",
            f"{layer.share:.2%}",
            layer.pattern,
        )
        for layer in layers
    )
    return Table(
        columns("layer", "shape", "zeros", "share", "pattern", left=("layer",)),
        tuple(map(cells, rows)),
        title=Phrase("Zeros per layer of {model}", model=study.label(model)),
        notes=() if sparsity.head is None else (Phrase("The output head is not counted in the total."),),
    )


def overview_table(study: Study) -> Table | None:
    """Return tasks down, models across; None for a single variant, whose own table has everything."""
    if len(study.variants) < 2:
        return None
    found: dict[tuple[str, str, str], dict[int, MetricDifference]] = {}
    for place, variant in enumerate(study.variants):
        for difference in variant.comparison.tasks:
            key = (difference.task, difference.metric, difference.filter)
            found.setdefault(key, {})[place] = difference
    rows = []
    for (task, metric, filter_name), by_variant in found.items():
        first = next(iter(by_variant.values()))
        rows.append(
            (
                printable(task),
                metric_heading(metric, filter_name, first.higher_is_better),
                number(first.original, metric),
                *(
                    _with_verdict(by_variant[i]) if i in by_variant else NOT_MEASURED
                    for i in range(len(study.variants))
                ),
            )
        )
    models = (Column(study.label(model)) for model in study.models)
    return Table(
        (*columns("task", "metric", wraps=("task", "metric")), *models),
        tuple(map(cells, rows)),
        title=Phrase("All variants"),
    )


def _with_verdict(difference: MetricDifference) -> str:
    value = number(difference.other, difference.metric)
    return joined(" ", (value, Phrase(difference.verdict))) if difference.verdict in VERDICT_TONES else value


def differences_table(title: str, differences: Sequence[MetricDifference], note: str = "") -> Table | None:
    """Return one row per metric; None where there are none."""
    if not differences:
        return None
    return Table(COLUMNS, tuple(map(_difference_row, differences)), title, notes=(note,) if note else ())


def variant_tables(variant: Variant) -> list[Table]:
    """Return the metrics of one variant: tasks, perplexities, subjects hurt most, all others."""
    comparison = variant.comparison
    perplexities = [each for each in (*comparison.tasks, *comparison.others) if each.metric in PERPLEXITIES]
    others = [each for each in comparison.others if each.metric not in PERPLEXITIES]
    lower = sum(each.verdict == "worse" for each in comparison.subjects)
    tables = (
        differences_table(Phrase("Tasks"), comparison.tasks),
        differences_table(Phrase("Perplexities"), perplexities),
        differences_table(
            Phrase("Subjects hurt most"),
            comparison.hurt_most(),
            Phrase(
                "Of {n} inside groups, {lower} are worse (Holm over all of them).",
                n=len(comparison.subjects),
                lower=lower,
            ),
        ),
        differences_table(Phrase("Other metrics"), others),
    )
    return [table for table in tables if table is not None]


def _difference_row(difference: MetricDifference) -> CellRow:
    metric, docs, flips = difference.metric, difference.docs, difference.flips
    most = max(docs.original, docs.other)
    tone: Tone = difference.verdict if difference.verdict in VERDICT_TONES else ""
    return cells(
        [
            printable(difference.task),
            Cell(difference.verdict, tone),
            metric_heading(metric, difference.filter, difference.higher_is_better),
            number(difference.original, metric),
            number(difference.other, metric),
            _difference(difference),
            f"{docs.common:,}"
            if docs.common == most
            else Phrase("{n:,} of {all:,}", n=docs.common, all=most),
            NOT_MEASURED if flips is None else f"{flips.lost:,} / {flips.gained:,}",
            number(difference.smallest, metric) if math.isfinite(difference.smallest) else Phrase("nothing"),
            NOT_MEASURED if difference.relative is None else _percent(difference.relative),
            p_value(difference.p_value),
            p_value(difference.p_adjusted),
        ]
    )


def _difference(difference: MetricDifference) -> str:
    def text(value: float) -> str:
        return signed(value, difference.metric, beside=difference.original)

    low, high = difference.interval
    if low is None or high is None:
        return text(difference.difference)
    return f"{text(difference.difference)} [{text(low)}, {text(high)}]"


def _percent(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{abs(share):.1%}"


def p_value(p: float) -> str:
    """Return four decimals, or `<0.0001`."""
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"
