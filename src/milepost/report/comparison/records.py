"""A comparison as JSON: what programs read. Numbers stay numbers; what is not known is null."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from milepost.analysis.paired import ALPHA
from milepost.analysis.verdicts import MetricDifference
from milepost.report.comparison.examples import Examples
from milepost.report.comparison.study import ReportedModel, Study, Variant
from milepost.types import Measurement

PERPLEXITIES = (
    "token_perplexity",
    "guide_perplexity",
    "word_perplexity",
    "byte_perplexity",
    "bits_per_byte",
    "perplexity",
)
"""Metrics that are perplexities, in whatever unit."""

WIKITEXT_CONVENTIONS = {
    ("ppl_fixed", "token_perplexity"): "per token, disjoint windows, as the pruning papers (task ppl_fixed)",
    ("wikitext", "word_perplexity"): "per word, as lm_eval (task wikitext, word_perplexity)",
}
"""What `wikitext_ppl` is, the first that was measured."""


def model_record(model: ReportedModel) -> dict[str, Any]:
    """One model: `model_path`, `sparsity` (share of zeros), `wikitext_ppl`, `tasks`, and where they are from.

    `tasks` is `{task: {metric: value}}`, groups among them; a metric that comes through a filter is named
    `metric,filter`, as lm_eval names it. `wikitext_ppl_convention` says which perplexity `wikitext_ppl` is.
    """
    answers, figures = model.answers, model.answers.measurements
    wikitext_ppl, convention = _wikitext(model)
    return {
        "model_path": answers.source,
        "name": model.name,
        "role": model.role,
        "sparsity": None if model.sparsity is None else model.sparsity.share,
        "wikitext_ppl": wikitext_ppl,
        "wikitext_ppl_convention": convention,
        "tasks": _by_task(figures, "value"),
        "stderr": _by_task(figures, "stderr"),
        "docs": {one.task: one.n for one in figures},
        "perplexities": {
            f"{one.task} {one.metric}": one.value for one in figures if one.metric in PERPLEXITIES
        },
        "sparsity_details": _sparsity(model),
        "n_parameters": None if model.sparsity is None else model.sparsity.n_parameters,
        "bytes_on_disk": None if model.sparsity is None else model.sparsity.bytes_on_disk,
        "series": answers.series,
        "checkpoint": answers.checkpoint,
        "step": answers.step,
        "model_id": answers.model_id,
        "numerics": answers.numerics,
        "tokenizer_ids": sorted(answers.tokenizer_ids),
        "num_fewshot": {name: task.num_fewshot for name, task in answers.tasks.items()},
        "task_versions": {name: task.version for name, task in answers.tasks.items()},
        "results": str(answers.results),
        "versions": dict(model.newest.run.versions) if model.newest else None,
    }


def _wikitext(model: ReportedModel) -> tuple[float | None, str | None]:
    """The perplexity on wikitext-2, and by which convention; windows may be those of another text."""
    asked = model.newest.plan.asked if model.newest else {}
    other_text = dict(asked.get("metadata") or {}).get("text", "wikitext2") != "wikitext2"
    found = {(one.task, one.metric): one for one in model.answers.measurements}
    for (task, metric), convention in WIKITEXT_CONVENTIONS.items():
        figure = found.get((task, metric))
        if figure is not None and figure.value is not None and not (task == "ppl_fixed" and other_text):
            return figure.value, convention + _part(figure.n, asked.get("limit"))
    return None, None


def _part(n: int, limit: float | None) -> str:
    """What is to be said of a figure that a limit cut short."""
    return f"; only the first {n}, as --limit says" if limit is not None and (limit < 1 or n == limit) else ""


def comparison_record(study: Study) -> dict[str, Any]:
    """The whole study: the models in short, then each variant's figures, verdicts and changed docs."""
    return {
        "original": _short(study, study.original),
        "variants": [_variant(study, variant) for variant in study.variants],
        "level": ALPHA,
        "adjustment": "Holm, over the figures of each list",
    }


def _short(study: Study, model: ReportedModel) -> dict[str, Any]:
    full = model_record(model)
    kept = "model_path role sparsity wikitext_ppl wikitext_ppl_convention n_parameters bytes_on_disk model_id"
    return {
        "name": study.label(model),
        **{key: full[key] for key in kept.split()},
        "patterns": None if model.sparsity is None else model.sparsity.patterns,
    }


def _variant(study: Study, variant: Variant) -> dict[str, Any]:
    comparison = variant.comparison
    return {
        **_short(study, variant.model),
        "verdicts": {one.task: one.verdict for one in comparison.tasks},
        "tasks": [_compared(one) for one in comparison.tasks],
        "subjects": [_compared(one) for one in comparison.subjects],
        "other_figures": [_compared(one) for one in comparison.others],
        "subjects_hurt_most": [one.task for one in comparison.hurt_most()],
        "examples": {one.task: _examples(one) for one in variant.examples},
        "not_compared": [one._asdict() for one in comparison.uncompared],
        "same_tokenizer": comparison.same_tokenizer,
        "notes": list(comparison.notes),
    }


def _compared(one: MetricDifference) -> dict[str, Any]:
    return {
        "task": one.task,
        "kind": one.kind,
        "metric": one.metric,
        "filter": one.filter,
        "higher_is_better": one.higher_is_better,
        "chance": one.chance,
        "original": _finite(one.original),
        "other": _finite(one.other),
        "difference": _finite(one.difference),
        "relative": None if one.relative is None else _finite(one.relative),
        "ci_low": _finite(one.interval.low),
        "ci_high": _finite(one.interval.high),
        "test": one.test,
        "p_value": one.p_value,
        "p_holm": one.p_adjusted,
        "verdict": one.verdict,
        "smallest_difference": _finite(one.smallest),
        "docs": one.docs._asdict(),
        "flips": None if one.flips is None else one.flips._asdict(),
    }


def _examples(examples: Examples) -> dict[str, Any]:
    return {
        "lost": [asdict(one) for one in examples.lost],
        "gained": [asdict(one) for one in examples.gained],
        "lost_docs": examples.lost_ids,
        "gained_docs": examples.gained_ids,
    }


def _sparsity(model: ReportedModel) -> dict[str, Any] | None:
    counted = model.sparsity
    if counted is None:
        return None
    layers = counted.layers if counted.head is None else (*counted.layers, counted.head)
    return {
        "linear_layers": counted.share,
        "all_parameters": counted.n_zeros / counted.n_parameters,
        "patterns": counted.patterns,
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "zeros": layer.zeros,
                "sparsity": layer.share,
                "pattern": layer.pattern,
                "in_total": layer is not counted.head,
            }
            for layer in layers
        ],
    }


def _by_task(figures: Sequence[Measurement], field: str) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for one in figures:
        name = one.metric if one.filter == "none" else f"{one.metric},{one.filter}"
        found.setdefault(one.task, {})[name] = _finite(getattr(one, field))
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
