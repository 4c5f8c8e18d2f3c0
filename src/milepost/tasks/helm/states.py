"""A run's instances and request states: made once by HELM's scenario and adapter, kept as JSON, read again.

None of it depends on weights. Source: helm/benchmark/runner.py `Runner.run_one` up to the executor (0.5.16).
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from helm.benchmark.adaptation.adapters.adapter_factory import AdapterFactory
from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.benchmark.data_preprocessor import DataPreprocessor
from helm.benchmark.run_spec import RunSpec
from helm.benchmark.runner import downsample_eval_instances, set_benchmark_output_path
from helm.benchmark.scenarios.scenario import (
    EVAL_SPLITS,
    Input,
    Instance,
    Scenario,
    create_scenario,
    get_scenario_cache_path,
    with_instance_ids,
)
from helm.common.codec import from_json, to_json_single_line
from helm.common.general import asdict_without_nones

from milepost.errors import TaskError
from milepost.tasks.helm.downloads import naming_downloads
from milepost.tasks.helm.perturbations import folders_of, named_alike
from milepost.tasks.helm.quiet import quiet
from milepost.tasks.helm.stand_in import StandIn
from milepost.tasks.question_source import PlannedDocs
from milepost.text.language import Phrase
from milepost.text.messages import one_line

logger = logging.getLogger("milepost.tasks")

MOST_KEPT = 10_000
"""Request states, with prompts of some kilobytes each, that are kept in memory."""
_KEPT: dict[str, Sequence[tuple[RequestState, int]]] = {}
"""By `PlannedDocs.docs_id`, what `states_of` returns."""
_NOBODY = Instance(input=Input(), references=[])
"""In place of an instance that is stored once for all of its states."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """One run before any model has answered."""

    scenario: Scenario
    instances: list[Instance]
    """Those that are asked, perturbed ones too, in HELM's order."""
    n_in_data: int
    """Instances that would be asked without a limit, perturbed ones too."""
    states: list[RequestState]
    """Without results, ordered by instance."""
    folders: list[str]
    """Those that the data lie in: the scenario's, then those of its perturbations."""


def adapt(entry: str, run_spec: RunSpec, stand_in: StandIn, data: Path) -> Adapted:
    """Make the request states of a run.

    Args:
        entry: that the run is of, for messages.
        data: HELM's output folder, whose `scenarios` the scenario's data lie in or are downloaded to.

    Raises:
        TaskError: the data cannot be had, or HELM's code fails.
    """
    set_benchmark_output_path(str(data))
    scenario: Scenario = create_scenario(run_spec.scenario_spec)
    place = data / "scenarios" / scenario.name
    with _blaming(entry, place), quiet():
        folder = get_scenario_cache_path(str(data), scenario.name)
        instances = scenario.get_instances(folder)
        if any(instance.id is None for instance in instances):
            instances = with_instance_ids(instances)
        most = run_spec.adapter_spec.max_eval_instances
        splits = run_spec.adapter_spec.eval_splits or EVAL_SPLITS
        n_all = sum(instance.split in splits for instance in instances)
        if most is not None:
            instances = downsample_eval_instances(instances, most, splits)
        n_chosen = sum(instance.split in splits for instance in instances)
        of_perturbations = folders_of(run_spec.data_augmenter_spec, data)
        instances = DataPreprocessor(run_spec.data_augmenter_spec).preprocess(instances, parallelism=1)
        instances = named_alike(instances, of_perturbations)
        adapter = AdapterFactory.get_adapter(run_spec.adapter_spec, stand_in.service)
        states = adapter.adapt(instances, parallelism=1)
    asked = list(dict.fromkeys(state.instance for state in states))
    if not asked:
        raise TaskError(
            Phrase("{entry}: the scenario has no instance to evaluate", entry=entry),
            Phrase("check the entry's arguments: HELM finds nothing for them in {place}", place=place),
        )
    order = {instance: number for number, instance in enumerate(asked)}
    ordered = sorted(states, key=lambda state: order[state.instance])
    n_in_data = len(asked) * n_all // max(1, n_chosen)
    return Adapted(scenario, asked, n_in_data, ordered, [folder, *of_perturbations])


def dump_instance(instance: Instance) -> str:
    """Return an instance as JSON."""
    text: str = to_json_single_line(instance)
    return text


def dump_states(states: Sequence[RequestState], places: Sequence[int]) -> str:
    """Return the request states of one instance as JSON: a list of [prompt, all else], without the instance.

    Args:
        places: of the request of each state, among those of the run.
    """
    entries = []
    for state, place in zip(states, places, strict=True):
        bare = replace(state, instance=_NOBODY, request=replace(state.request, prompt=""))
        entry = json.loads(to_json_single_line(bare))
        del entry["instance"]
        entries.append([state.request.prompt, {"place": place, **entry}])
    return json.dumps(entries, ensure_ascii=False)


def states_of(task: PlannedDocs) -> Sequence[tuple[RequestState, int]]:
    """Return the request states of a task's docs, each with the place of its request.

    They are kept for the next checkpoint, unless that would be too many.
    """
    if task.docs_id not in _KEPT:
        columns = task.columns()
        docs = zip(columns["doc"], columns["arguments"], strict=True)
        states = [found for doc, arguments in docs for found in load_states(doc, arguments)]
        if sum(map(len, _KEPT.values())) + len(states) > MOST_KEPT:
            return states
        _KEPT[task.docs_id] = states
    return _KEPT[task.docs_id]


def load_states(instance: str, states: str) -> Iterator[tuple[RequestState, int]]:
    """Yield the states that `dump_instance` and `dump_states` wrote, each with the place of its request.

    All states have one and the same instance, by which HELM's metrics group them.
    """
    shared: Instance = from_json(instance, Instance)
    blank = json.loads(to_json_single_line(_NOBODY))
    for prompt, entry in json.loads(states):
        place = entry.pop("place")
        state: RequestState = from_json(json.dumps({**entry, "instance": blank}), RequestState)
        yield replace(state, instance=shared, request=replace(state.request, prompt=prompt)), place


def dump_scenario(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as `scenario.json` has it."""
    plain: dict[str, Any] = asdict_without_nones(scenario)
    return plain


def scenario_state(run_spec: RunSpec, states: list[RequestState]) -> ScenarioState:
    """Return HELM's record of a run's requests."""
    return ScenarioState(run_spec.adapter_spec, states, annotator_specs=run_spec.annotators)


@contextlib.contextmanager
def _blaming(entry: str, folder: Path) -> Iterator[None]:
    """Say in one line what HELM's code or a download failed at."""
    try:
        with naming_downloads(entry, folder):
            yield
    except TaskError:
        raise
    except Exception as error:  # a scenario's or an adapter's own code
        raise TaskError(
            Phrase(
                "{entry}: HELM fails to make its questions: {kind}: {error}",
                entry=entry,
                kind=type(error).__name__,
                error=one_line(error),
            ),
            Phrase(
                "its data lie in {folder}; if they are damaged, remove them and HELM downloads them again",
                folder=folder,
            ),
        ) from error
