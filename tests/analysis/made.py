"""Measurements made up for the tests of analysis, report and the commands that read results."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milepost.store import ResultsFolder
from milepost.store.atomic_files import write_json
from milepost.store.records import RunRecord
from milepost.types.metrics import Measurement

PLAIN = Measurement(
    series="run",
    checkpoint="step-100",
    step=100,
    task="arc_easy",
    metric="acc",
    filter="none",
    value=0.5,
    stderr=0.05,
    n=100,
    chance=0.25,
    higher_is_better=True,
    kind="task",
    alias="arc_easy",
    parents=(),
    num_fewshot=0,
)


def measurement(**changes: Any) -> Measurement:
    """A plausible accuracy; name what matters to the test."""
    if "step" in changes:
        changes.setdefault("checkpoint", f"step-{changes['step']}")
    if "task" in changes:
        changes.setdefault("alias", changes["task"])
    return dataclasses.replace(PLAIN, **changes)


def accuracy(*, value: float, n: int, **changes: Any) -> Measurement:
    """An accuracy with the standard error that lm_eval gives the mean of n right-or-wrong answers."""
    return measurement(value=value, n=n, stderr=math.sqrt(value * (1 - value) / (n - 1)), **changes)


def perplexity(*, value: float, **changes: Any) -> Measurement:
    usual = {"task": "wikitext", "metric": "word_perplexity", "stderr": None, "n": 62}
    return measurement(value=value, chance=None, higher_is_better=False, **(usual | changes))


def rising(
    task: str,
    steps: list[int],
    *,
    low: float,
    high: float,
    n: int,
    series: str = "run",
    **changes: Any,
) -> list[Measurement]:
    """An accuracy that climbs from `low` to `high` with the noise that n docs have."""
    noise = random.Random(f"{series}/{task}")
    found = []
    for i, step in enumerate(steps):
        truth = low + (high - low) * i / max(1, len(steps) - 1)
        value = min(1.0, max(0.0, truth + noise.gauss(0, math.sqrt(truth * (1 - truth) / n))))
        found.append(accuracy(value=value, n=n, task=task, step=step, series=series, **changes))
    return found


def mmlu(steps: list[int], *, subjects: int = 57, series: str = "run") -> list[Measurement]:
    """A group of groups of subjects, as lm_eval nests mmlu, all near chance."""
    families = ["stem", "humanities", "social_sciences", "other"]
    found = rising("mmlu", steps, low=0.25, high=0.255, n=14042, series=series, kind="group")
    for family in families:
        found += rising(
            f"mmlu_{family}",
            steps,
            low=0.245,
            high=0.26,
            n=3500,
            series=series,
            kind="group",
            parents=("mmlu",),
        )
    for i in range(subjects):
        parents = ("mmlu", f"mmlu_{families[i % 4]}")
        found += rising(
            f"mmlu_subject_{i:02}", steps, low=0.25, high=0.26, n=246, series=series, parents=parents
        )
    return found


def write_results(
    folder: Path, measurements: Sequence[Measurement], *, plan: str = "plan", models: str | None = None
) -> Path:
    """A results folder that holds these measurements, as `milepost run` leaves it, without scores.

    Args:
        models: results with the same `models` are of the same weights; by default none are.
    """
    results = ResultsFolder.create(folder)
    of_checkpoint: dict[tuple[str, str], list[Measurement]] = {}
    for each in measurements:
        of_checkpoint.setdefault((each.series, each.checkpoint), []).append(each)
    for (series, checkpoint), figures in of_checkpoint.items():
        weights = f"{folder if models is None else models} {series} {checkpoint}"
        model_id = hashlib.sha256(weights.encode()).hexdigest()[:16]
        identity = {"series": series, "checkpoint": checkpoint, "step": figures[0].step}
        write_json(
            results.checkpoint_path(series, checkpoint),
            {**identity, "model_id": model_id, "numerics": "float32"},
        )
        rows = [{**dataclasses.asdict(figure), "setting": "0-shot"} for figure in figures]
        write_json(results.metrics_path(plan, model_id, "float32"), {"rows": rows})
    tasks = {"piqa": {"version": 1.0, "num_fewshot": 0, "dataset": ["baber/piqa", None]}}
    asked = {"names": ["piqa"], "limit": None, "seeds": {"python": 0}}
    settings = {"asked": asked, "tasks": tasks, "versions": {"lm_eval": "0.4.13"}}
    write_json(results.plan_path(plan), {"plan_id": plan, "settings": settings, "tasks": []})
    results.write_run(
        RunRecord(
            plan_id=plan,
            series=tuple(dict.fromkeys(each.series for each in measurements)),
            sources=("runs/<b>&co",),
            versions={"lm_eval": "0.4.13"},
        )
    )
    return folder
