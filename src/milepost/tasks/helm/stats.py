"""HELM's statistics of one run from a model's answers, by HELM's own metrics.

Source: helm/benchmark/runner.py `Runner.run_one` after the executor (0.5.16).
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.annotation.annotator import AnnotatorSpec
from helm.benchmark.metrics.metric import PerInstanceStats, create_metric
from helm.benchmark.metrics.statistic import Stat
from helm.benchmark.run_spec import RunSpec
from helm.benchmark.runner import (
    remove_per_instance_stats_nans,
    remove_stats_nans,
    set_benchmark_output_path,
)
from helm.common.object_spec import create_object, get_class_by_name, inject_object_spec_args

from milepost.tasks.helm.kept import keeping
from milepost.tasks.helm.quiet import quiet
from milepost.tasks.helm.stand_in import StandIn


@dataclass(frozen=True, slots=True)
class RunStats:
    """The statistics that HELM computes for one run."""

    state: ScenarioState
    """With results and annotations."""
    stats: list[Stat]
    per_instance: list[PerInstanceStats]


def compute_stats(
    run_spec: RunSpec, states: Sequence[RequestState], stand_in: StandIn, data: Path
) -> RunStats:
    """Annotate and count answered request states; for the main thread, as `quiet`.

    Args:
        data: HELM's output folder, in which annotators find databases to run answers on.
    """
    set_benchmark_output_path(str(data))
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # such as nltk's of texts without a common word
        return _computed(run_spec, states, stand_in, data)


def _computed(run_spec: RunSpec, states: Sequence[RequestState], stand_in: StandIn, data: Path) -> RunStats:
    state = ScenarioState(run_spec.adapter_spec, list(states), annotator_specs=run_spec.annotators)
    if run_spec.annotators:
        state = replace(state, request_states=_annotated(run_spec, state.request_states, data))
    with tempfile.TemporaryDirectory(prefix="milepost-helm-") as cache:
        stats: list[Stat] = []
        per_instance: list[PerInstanceStats] = []
        metrics = [create_metric(spec) for spec in run_spec.metric_specs]
        with keeping():
            for metric in metrics:
                result = metric.evaluate(state, stand_in.service, cache, 1)
                stats.extend(result.aggregated_stats)
                per_instance.extend(result.per_instance_stats)
    return RunStats(state, remove_stats_nans(stats), remove_per_instance_stats_nans(per_instance))


def _annotated(run_spec: RunSpec, states: list[RequestState], data: Path) -> list[RequestState]:
    annotators: list[Any] = [
        create_object(
            inject_object_spec_args(
                spec, provider_bindings={"file_storage_path": partial(_storage_of, spec, data)}
            )
        )
        for spec in run_spec.annotators or ()
    ]
    if all(getattr(annotator, "use_global_metric", False) for annotator in annotators):
        of_all = [annotator.annotate_all(states) for annotator in annotators][-1]
        return [replace(state, annotations=own) for state, own in zip(states, of_all, strict=True)]
    return [
        replace(state, annotations={annotator.name: annotator.annotate(state) for annotator in annotators})
        for state in states
    ]


def _storage_of(annotator: AnnotatorSpec, data: Path) -> str:
    """Return the folder in which an annotator keeps what it downloads, below the data of the scenarios."""
    folder = data / "annotators" / annotator.class_name.rpartition(".")[2]
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def lower_is_better(run_spec: RunSpec) -> Mapping[str, bool | None]:
    """Return, by the name of a statistic, HELM's word on which direction is better."""
    found: dict[str, bool | None] = {}
    for spec in run_spec.metric_specs:
        try:
            for metric in get_class_by_name(spec.class_name)(**spec.args).get_metadata():
                found[metric.name] = metric.lower_is_better
        except NotImplementedError:  # a metric without metadata
            continue
    return found
