"""One run's files as `helm-run` writes them: `runs/<suite>/<run spec>/{run_spec,stats,...}.json`.

Source: helm/benchmark/runner.py `Runner.run_one`, its last lines (0.5.16).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from helm.benchmark.adaptation.scenario_state import ScenarioState
from helm.common.general import asdict_without_nones

from milepost.tasks.helm.evaluation import run_spec_of, run_stats
from milepost.tasks.helm.run_specs import rename_model
from milepost.tasks.helm.stand_in import StandIn
from milepost.tasks.question_source import ModelTraits, PlannedDocs


def name_of(task: PlannedDocs, model: str) -> str:
    """Return HELM's name of a run, which is that of its folder.

    Args:
        model: the name in HELM's files, with one slash: `series/checkpoint`.
    """
    spec = run_spec_of(task)
    name: str = rename_model(spec, spec.adapter_spec.model, model).name
    return name


def name_with_more(name: str, task: PlannedDocs, settings: str) -> str:
    """Return HELM's name of a run with what its entry and Milepost's settings say beyond it.

    HELM leaves some arguments, such as the temperature, out of the name.

    Args:
        settings: words, of which `key=value` are arguments already.
    """
    before, model, after = name.rpartition("model=")
    asked = task.description["helm"]["entry"].partition(":")[2].split(",")
    words = settings.split()
    others = "-".join(word for word in words if "=" not in word)
    given = [*asked, *(word for word in words if "=" in word), *([f"settings={others}"] if others else [])]
    known = set(before.replace(":", ",").split(","))
    more = [part.replace("/", "_") for part in given if part and part not in known]
    return before + "".join(f"{part}," for part in more) + model + after


def run_files(
    task: PlannedDocs,
    answers: Sequence[Sequence[str] | None],
    models: ModelTraits,
    model: str,
    name: str,
    data: Path,
) -> dict[str, bytes]:
    """Return the files of one run by their names.

    Args:
        answers: of each request, as a results folder stores them.
        model: the name in HELM's files, with one slash: `series/checkpoint`.
        name: of the run.
        data: HELM's output folder.
    """
    stand_in = StandIn.register(models)
    spec = run_spec_of(task)
    found = run_stats(spec, task, answers, stand_in, data)
    renamed = replace(rename_model(spec, spec.adapter_spec.model, model), name=name)
    states = [
        replace(state, request=replace(state.request, model=model, model_deployment=model))
        for state in found.state.request_states
    ]
    contents: dict[str, Any] = {
        "run_spec": asdict_without_nones(renamed),
        "scenario": task.description["helm"]["scenario"],
        "scenario_state": asdict_without_nones(
            ScenarioState(renamed.adapter_spec, states, annotator_specs=renamed.annotators)
        ),
        "stats": [asdict_without_nones(stat) for stat in found.stats],
        "per_instance_stats": [asdict_without_nones(of) for of in found.per_instance],
    }
    return {f"{part}.json": json.dumps(content, indent=2).encode() for part, content in contents.items()}
