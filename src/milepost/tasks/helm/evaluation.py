"""Stored answers to HELM's statistics, for all of HELM's tasks of one checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from helm.benchmark.adaptation.request_state import RequestState
from helm.benchmark.run_spec import RunSpec
from helm.common.codec import from_json

from milepost.tasks.helm.answers import HelmClient
from milepost.tasks.helm.rows import Named, docs_of, rows_of
from milepost.tasks.helm.schemas import directions
from milepost.tasks.helm.stand_in import StandIn
from milepost.tasks.helm.states import states_of
from milepost.tasks.helm.stats import RunStats, compute_stats
from milepost.tasks.question_source import (
    DocMetrics,
    Evaluation,
    ModelTraits,
    PlannedDocs,
    Responses,
)
from milepost.text.language import Phrase
from milepost.text.messages import one_line
from milepost.types.metrics import MissingMetric

logger = logging.getLogger("milepost.tasks")


def evaluate(
    planned: Mapping[str, PlannedDocs],
    responses: Mapping[str, Responses],
    models: ModelTraits,
    data: Path,
) -> Evaluation:
    """Compute HELM's statistics of each task; one whose answers or metrics fail has a reason instead.

    Args:
        data: HELM's output folder.
    """
    rows: list[dict[str, Any]] = []
    docs: dict[str, DocMetrics] = {}
    missing: dict[str, int] = {}
    reasons: list[MissingMetric] = []
    stand_in = StandIn.register(models)
    for name, task in planned.items():
        answers = responses[name]
        if answers.raised is not None:
            missing[name] = 0
            reasons.append(MissingMetric(name, None, None, answers.raised))
        elif lacking := answers.n_unanswered():
            missing[name] = lacking
        else:
            named = _named(name, task)
            try:
                found = run_stats(named.run_spec, task, answers.generated or (), stand_in, data)
                rows += rows_of(named, found)
                docs[name] = docs_of(found)
            except Exception as error:  # a metric's own code raises anything
                logger.debug("%s: no statistics", name, exc_info=error)
                missing[name] = 0
                why = Phrase(
                    "HELM's metrics raised {error}: {reason}",
                    error=type(error).__name__,
                    reason=one_line(error),
                )
                reasons.append(MissingMetric(name, None, None, why))
        if name in missing:
            rows.append(_row_without_value(_named(name, task)))
    return Evaluation(rows, docs, {}, missing, reasons)


def run_stats(
    run_spec: RunSpec,
    task: PlannedDocs,
    answers: Sequence[Sequence[str] | None],
    stand_in: StandIn,
    data: Path,
) -> RunStats:
    """Return HELM's statistics of one run from the stored answers to its requests."""
    client = HelmClient(stand_in)
    return compute_stats(run_spec, list(_answered(task, answers, client)), stand_in, data)


def run_spec_of(task: PlannedDocs) -> RunSpec:
    """Return the run spec that a plan keeps."""
    spec: RunSpec = from_json(json.dumps(task.description["helm"]["run_spec"]), RunSpec)
    return spec


def _answered(
    task: PlannedDocs, answers: Sequence[Sequence[str] | None], client: HelmClient
) -> Iterator[RequestState]:
    """Yield the request states with results, in HELM's order: trial after trial."""
    states = [
        replace(state, result=client.result(state.request, answers[place] or ()))
        for state, place in states_of(task)
    ]
    yield from sorted(states, key=lambda state: state.train_trial_index)


def _named(name: str, task: PlannedDocs) -> Named:
    kept = task.description["helm"]
    main, split = kept["headline"]
    told = {metric: lower for metric, lower in kept["lower_is_better"].items() if lower is not None}
    return Named(name, run_spec_of(task), (main, split), {**directions(), **told})


def _row_without_value(named: Named) -> dict[str, Any]:
    """Return the headline's row of a task that has no statistics."""
    main, split = named.headline
    lower = named.lower_is_better.get(main)
    return {
        "task": named.task,
        "metric": main,
        "filter": split or "all",
        "value": None,
        "stderr": None,
        "n": 0,
        "chance": None,
        "higher_is_better": None if lower is None else not lower,
        "kind": "task",
        "alias": named.task,
        "parents": [],
        "num_fewshot": named.run_spec.adapter_spec.max_train_instances,
    }
