"""Run entries to planned runs: HELM's specs, instances and request states, with what a plan keeps of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helm.common.codec import to_json_single_line

from milepost.errors import MissingDataError
from milepost.tasks.helm.answers import HelmClient
from milepost.tasks.helm.entries import Entry
from milepost.tasks.helm.entry_runs import leaving_out, runs_of
from milepost.tasks.helm.headline import headline_of
from milepost.tasks.helm.installation import helm_version
from milepost.tasks.helm.requests import requests_of
from milepost.tasks.helm.run_specs import NamedRun
from milepost.tasks.helm.stand_in import StandIn
from milepost.tasks.helm.states import Adapted, adapt, dump_scenario
from milepost.tasks.helm.stats import lower_is_better
from milepost.tasks.question_source import ModelTraits, TaskRequests
from milepost.tasks.settings import TaskSettings


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run as a plan keeps it."""

    entry: Entry
    requests: TaskRequests
    description: dict[str, Any]
    """See `question_source.Description.tasks`; `helm` holds run spec and scenario as HELM writes them."""
    counting: dict[str, Any]
    folders: list[str]
    """Those that its data lie in."""


def plan_runs(
    settings: TaskSettings, models: ModelTraits, entries: Sequence[Entry], data: Path
) -> Iterator[PlannedRun]:
    """Yield the runs of some entries; all specs are made and checked before the first scenario is.

    Raises:
        MissingDataError: the data of an entry is missing, and `settings` do not say to leave such entries
            out, or no other entry or task is asked.
        TaskError: HELM does not know an entry, or it needs what Milepost does not do.
        TokenizerError: HELM cannot use the tokenizer.
    """
    stand_in = StandIn.register(models)
    left_out: list[MissingDataError] = []
    runs = runs_of(settings, entries, stand_in.name, data, left_out)
    client = HelmClient(stand_in)
    n_made = 0
    for run in runs.values():
        with leaving_out(settings, left_out):
            adapted = adapt(run.entry.description, run.run_spec, stand_in, data)
            requests = requests_of(run.name, adapted, client, models.defaults)
            n_made += 1
            yield PlannedRun(
                run.entry,
                requests,
                _description(run, adapted, settings),
                _counting(run),
                [str(Path(folder).resolve()) for folder in adapted.folders],
            )
    if not n_made and not settings.names:
        raise left_out[-1]


def _description(run: NamedRun, adapted: Adapted, settings: TaskSettings) -> dict[str, Any]:
    chosen = settings.max_eval_instances is not None
    return {
        "alias": run.name,
        "output_type": run.run_spec.adapter_spec.method,
        "version": helm_version(),
        "num_fewshot": run.run_spec.adapter_spec.max_train_instances,
        "dataset": [adapted.scenario.name, None],
        "parents": [],
        "source": "helm",
        "stored_answers": "tokens",
        "n_docs_in_data": len(adapted.instances) if chosen else adapted.n_in_data,
        "helm": {
            "entry": run.entry.description,
            "run_spec": json.loads(to_json_single_line(run.run_spec)),
            "scenario": dump_scenario(adapted.scenario),
            "headline": list(headline_of(run.run_spec, adapted.scenario)),
            "lower_is_better": dict(lower_is_better(run.run_spec)),
        },
    }


def _counting(run: NamedRun) -> dict[str, Any]:
    spec = json.loads(to_json_single_line(run.run_spec))
    return {
        "source": "helm",
        "version": helm_version(),
        **{key: spec.get(key) for key in ("metric_specs", "annotators", "data_augmenter_spec")},
        "num_train_trials": run.run_spec.adapter_spec.num_train_trials,
    }
