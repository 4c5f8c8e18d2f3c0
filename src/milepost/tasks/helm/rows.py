"""HELM's statistics as rows of Milepost's tables, and those of single instances as metrics of docs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from helm.benchmark.adaptation.adapter_spec import (
    ADAPT_MULTIPLE_CHOICE_JOINT,
    ADAPT_MULTIPLE_CHOICE_SEPARATE_METHODS,
)
from helm.benchmark.augmentations.perturbation_description import PerturbationDescription
from helm.benchmark.metrics.metric_name import MetricName
from helm.benchmark.metrics.statistic import Stat
from helm.benchmark.run_spec import RunSpec
from helm.common.request import RequestResult

from milepost.tasks.helm.answers import TokenAmongOthers
from milepost.tasks.helm.stats import RunStats
from milepost.tasks.question_source import DocMetrics

GUESSED = ("exact_match", "quasi_exact_match")
"""Statistics of a multiple choice that a guess gets right now and then."""
PREDICTED = "predicted_index"
"""Statistic of a separate multiple choice: the place of the likeliest reference."""
CHOOSES = (ADAPT_MULTIPLE_CHOICE_JOINT, *ADAPT_MULTIPLE_CHOICE_SEPARATE_METHODS)


@dataclass(frozen=True, slots=True)
class Named:
    """The names of a run's rows."""

    task: str
    run_spec: RunSpec
    headline: tuple[str, str | None]
    lower_is_better: Mapping[str, bool]
    """By statistic: HELM's word on its metrics, else on the statistic in its schemas."""


def context_of(name: MetricName) -> str:
    """Return split and perturbation, such as `test` or `test, misspellings prob=0.05, worst`."""
    parts = [name.split or "all"]
    if name.sub_split:
        parts.append(name.sub_split)
    if name.perturbation is not None:
        parts += _perturbation(name.perturbation)
    return ", ".join(parts)


def _perturbation(perturbation: PerturbationDescription) -> list[str]:
    known = ("name", "robustness", "fairness", "computed_on", "seed")
    own = [
        f"{key}={value}"
        for key, value in asdict(perturbation).items()
        if key not in known and value is not None and not key.endswith("_path")
    ]
    return [" ".join([perturbation.name, *own]), perturbation.computed_on]


def rows_of(named: Named, found: RunStats) -> list[dict[str, Any]]:
    """Return a row for each statistic, the headline first, then those that have a better direction."""
    values = _values_of_instances(found)
    chance = _chance(named, found)
    rows: dict[MetricName, dict[str, Any]] = {}
    for stat in found.stats:
        if stat.count and stat.name not in rows:
            rows[stat.name] = _row(named, stat, values.get(stat.name, []), chance)
    ordered = sorted(rows, key=lambda name: _rank(named, name))
    return [rows[name] for name in ordered]


def _rank(named: Named, name: MetricName) -> tuple[bool, bool, bool, bool]:
    main, split = named.headline
    return (
        name.name != main or name.perturbation is not None,
        split is not None and name.split != split,
        name.name not in named.lower_is_better,
        name.perturbation is not None,
    )


def _row(named: Named, stat: Stat, values: Sequence[float], chance: float | None) -> dict[str, Any]:
    lower = named.lower_is_better.get(stat.name.name)
    value = stat.mean if stat.mean is not None and math.isfinite(stat.mean) else None
    is_mean = (
        bool(values)
        and value is not None
        and math.isclose(sum(values) / len(values), value, rel_tol=1e-9, abs_tol=1e-12)
    )
    row = {
        "task": named.task,
        "metric": stat.name.name,
        "filter": context_of(stat.name),
        "value": value,
        "stderr": _standard_error(values) if is_mean else None,
        "n": len(values) or stat.count,
        "chance": chance if stat.name.name in GUESSED and stat.name.perturbation is None else None,
        "higher_is_better": None if lower is None else not lower,
        "kind": "task",
        "alias": named.task,
        "parents": [],
        "num_fewshot": named.run_spec.adapter_spec.max_train_instances,
    }
    if is_mean:
        row["doc_range"] = (min(values), max(values))
    if value is None:
        row["reason"] = "HELM's statistic is not a finite number"
    return row


def _standard_error(values: Sequence[float]) -> float | None:
    """Return the sample's standard error of the mean, as lm_eval computes it; None for a single value."""
    n = len(values)
    if n < 2:
        return None
    mean = sum(values) / n
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _values_of_instances(found: RunStats) -> dict[MetricName, list[float]]:
    """Return, by statistic, the mean over trials of each instance that has it."""
    by_instance: dict[MetricName, dict[tuple[str, Any], list[float]]] = {}
    for of in found.per_instance:
        for stat in of.stats:
            if stat.count and stat.mean is not None:
                own = by_instance.setdefault(stat.name, {})
                own.setdefault((of.instance_id, of.perturbation), []).append(stat.mean)
    return {name: [sum(trials) / len(trials) for trials in own.values()] for name, own in by_instance.items()}


def _chance(named: Named, found: RunStats) -> float | None:
    """Return what guessing among the references scores; None where nothing is chosen."""
    if named.run_spec.adapter_spec.method not in CHOOSES:
        return None
    plain = [instance for instance in found.state.instances if instance.perturbation is None]
    shares = [
        sum(reference.is_correct for reference in instance.references) / len(instance.references)
        for instance in plain
        if instance.references
    ]
    return sum(shares) / len(shares) if shares else None


def docs_of(found: RunStats) -> DocMetrics:
    """Return the statistics of each instance as metrics of its doc, in the order of the plan's docs."""
    place = {
        (instance.id, instance.perturbation): number for number, instance in enumerate(found.state.instances)
    }
    texts: dict[int, list[str]] = {}
    likeliest: dict[int, list[tuple[str, float]]] = {}
    for state in found.state.request_states:
        if state.result is not None:
            doc = place[state.instance.id, state.instance.perturbation]
            likeliest.setdefault(doc, _likeliest(state.result))
            own = texts.setdefault(doc, [])
            own += [
                completion.text for completion in state.result.completions if not state.request.echo_prompt
            ]
    values: dict[str, dict[int, list[float]]] = {}
    for of in found.per_instance:
        doc = place[of.instance_id, of.perturbation]
        for stat in of.stats:
            if stat.count and stat.mean is not None:
                values.setdefault(stat.name.name, {}).setdefault(doc, []).append(stat.mean)
    instances = found.state.instances
    for doc, indices in values.get(PREDICTED, {}).items():
        # Each choice was scored in a request of its own: the likeliest one is the answer.
        texts[doc] = [instances[doc].references[int(index)].output.text for index in indices]
    contexts = [context_of(MetricName("", i.split, i.sub_split, i.perturbation)) for i in instances]
    return DocMetrics(
        doc_id=list(range(len(instances))),
        filter=contexts,
        metrics={
            name: [_mean(own.get(doc)) for doc in range(len(instances))] for name, own in values.items()
        },
        filtered=[json.dumps(texts.get(doc, []), ensure_ascii=False) for doc in range(len(instances))],
        values={},
        likeliest=[json.dumps(likeliest.get(doc, []), ensure_ascii=False) for doc in range(len(instances))]
        if any(likeliest.values())
        else None,
    )


def _likeliest(result: RequestResult) -> list[tuple[str, float]]:
    """Return the first token of an answer and its alternatives; nothing where none were asked for."""
    first = next((token for completion in result.completions for token in completion.tokens[:1]), None)
    return list(first.top_logprobs.items()) if isinstance(first, TokenAmongOthers) else []


def _mean(values: list[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
