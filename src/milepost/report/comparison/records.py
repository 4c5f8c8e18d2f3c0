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
from milepost.types.metrics import Measurement

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
"""The conventions of `wikitext_ppl`; the first that was measured is taken."""


def model_record(model: ReportedModel) -> dict[str, Any]:
    """Return one model: `model_path`, `sparsity` (share of zeros), `wikitext_ppl`, `tasks` and provenance.

    `tasks` is `{task: {metric: value}}`, groups among them; a metric that comes through a filter is named
    `metric,filter`, as lm_eval names it. `wikitext_ppl_convention` says which perplexity `wikitext_ppl` is.
    """
    answers, measured = model.answers, model.answers.measurements
    wikitext_ppl, convention = _wikitext(model)
    return {
        "model_path": answers.source,
        "name": model.name,
        "role": model.role,
        "sparsity": None if model.sparsity is None else model.sparsity.share,
        "wikitext_ppl": wikitext_ppl,
        "wikitext_ppl_convention": convention,
        "tasks": _by_task(measured, "value"),
        "stderr": _by_task(measured, "stderr"),
        "docs": {each.task: each.n for each in measured},
        "perplexities": {
            f"{each.task} {each.metric}": each.value for each in measured if each.metric in PERPLEXITIES
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
    """Return the perplexity on wikitext-2 and its convention; None where another text was scored."""
    asked = model.newest.plan.asked if model.newest else {}
    other_text = dict(asked.get("metadata") or {}).get("text", "wikitext2") != "wikitext2"
    found = {(each.task, each.metric): each for each in model.answers.measurements}
    for (task, metric), convention in WIKITEXT_CONVENTIONS.items():
        measured = found.get((task, metric))
        if measured is not None and measured.value is not None and not (task == "ppl_fixed" and other_text):
            return measured.value, convention + _part(measured.n, asked.get("limit"))
    return None, None


def _part(n: int, limit: float | None) -> str:
    """Return words for a perplexity of only a part of the text."""
    return f"; only the first {n}, as --limit says" if limit is not None and (limit < 1 or n == limit) else ""


def comparison_record(study: Study) -> dict[str, Any]:
    """Return the study: the models in short, then each variant's metrics, verdicts and changed docs."""
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
        "verdicts": {name: each.verdict for name, each in comparison.by_name.items()},
        "tasks": [_difference(each) for each in comparison.tasks],
        "subjects": [_difference(each) for each in comparison.subjects],
        "other_figures": [_difference(each) for each in comparison.others],
        "subjects_hurt_most": [each.task for each in comparison.hurt_most()],
        "examples": {
            name: _examples(each) for name, each in zip(comparison.by_name, variant.examples, strict=False)
        },
        "not_compared": [each._asdict() for each in comparison.uncompared],
        "same_tokenizer": comparison.same_tokenizer,
        "notes": list(comparison.notes),
    }


def _difference(difference: MetricDifference) -> dict[str, Any]:
    return {
        "task": difference.task,
        "kind": difference.kind,
        "metric": difference.metric,
        "filter": difference.filter,
        "higher_is_better": difference.higher_is_better,
        "chance": difference.chance,
        "original": _finite(difference.original),
        "other": _finite(difference.other),
        "difference": _finite(difference.difference),
        "relative": None if difference.relative is None else _finite(difference.relative),
        "ci_low": _finite(difference.interval.low),
        "ci_high": _finite(difference.interval.high),
        "test": difference.test,
        "p_value": difference.p_value,
        "p_holm": difference.p_adjusted,
        "verdict": difference.verdict,
        "smallest_difference": _finite(difference.smallest),
        "docs": difference.docs._asdict(),
        "flips": None if difference.flips is None else difference.flips._asdict(),
    }


def _examples(examples: Examples) -> dict[str, Any]:
    return {
        "lost": [asdict(each) for each in examples.lost],
        "gained": [asdict(each) for each in examples.gained],
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


def _by_task(measured: Sequence[Measurement], field: str) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for each in measured:
        name = each.metric if each.filter == "none" else f"{each.metric},{each.filter}"
        found.setdefault(each.task, {})[name] = _finite(getattr(each, field))
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
