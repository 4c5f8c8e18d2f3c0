"""Score one checkpoint: the shards it lacks through the engine, then lm_eval's figures from all of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from milepost.plan.plan import KINDS, Plan, TaskPlan
from milepost.plan.shards import Shard, requests_of, shard_sequences
from milepost.store import ResultsFolder
from milepost.store.files import read_json, write_json

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine import Engine
    from milepost.run.planning import Questions
    from milepost.run.progress import Progress
    from milepost.types import Scores

SCORING_VERSION = 1
"""Counts up when the numbers an engine gives for the same tokens change beyond rounding."""

PER_CHECKPOINT = ("results", "groups")
"""The parts of lm_eval's results file that differ between checkpoints; the rest is kept once per plan."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which answers to which questions, and where they are kept."""

    results: ResultsFolder
    plan: Plan
    model_id: str
    dtype: str

    @property
    def numerics(self) -> str:
        return f"{self.dtype}-v{SCORING_VERSION}"

    def missing_shards(self) -> list[tuple[TaskPlan, Shard]]:
        return [
            (task, shard)
            for task in self.plan.tasks
            for shard in task.shards
            if not self.results.score_path(self.model_id, self.numerics, shard.shard_id).exists()
        ]

    def has_metrics(self) -> bool:
        return self.results.metrics_path(self.plan.plan_id, self.model_id, self.numerics).exists()

    def missing_answers(self) -> dict[str, int]:
        """Of a model with stored figures: tasks without any because it gave NaN, and how often it did."""
        path = self.results.metrics_path(self.plan.plan_id, self.model_id, self.numerics)
        missing: dict[str, int] = read_json(path)["missing"]
        return missing


def score_shards(target: Target, engine: Engine, progress: Progress) -> int:
    """Score and store every shard that is not there yet; how many there were.

    A shard is written once it is complete, so an interrupt costs at most the one under way.
    """
    missing = target.missing_shards()
    for task, shard in missing:
        sequences = shard_sequences(task.encoded, shard)
        scores = engine.score(sequences)
        loglikelihood, greedy = _by_request(
            scores, requests_of(task.encoded, shard), shard.last - shard.first
        )
        path = target.results.score_path(target.model_id, target.numerics, shard.shard_id)
        target.results.write_scores(path, loglikelihood, greedy)
        progress.advance(len(sequences.tokens))
    return len(missing)


def write_figures(target: Target, questions: Questions) -> dict[str, int]:
    """lm_eval's figures of a fully scored checkpoint, stored; returns the NaN answers by task.

    Raises:
        ResultsError: a stored shard is damaged, or the disk is full.
    """
    from milepost.tasks.metrics import Responses, compute_metrics

    responses = {}
    for task in target.plan.tasks:
        parts = [
            target.results.read_scores(
                target.results.score_path(target.model_id, target.numerics, shard.shard_id)
            )
            for shard in task.shards
        ]
        responses[task.name] = Responses(
            kinds=[KINDS[kind] for kind in task.kinds],
            doc_ids=task.doc_ids,
            loglikelihood=np.concatenate([loglikelihood for loglikelihood, _ in parts]),
            greedy=np.concatenate([greedy for _, greedy in parts]),
        )
    evaluation = compute_metrics(questions.loaded(), responses)
    settings = _settings_of(target.plan)
    for task in target.plan.tasks:
        if task.name in evaluation.docs:
            path = target.results.doc_metrics_path(task.task_id, target.model_id, target.numerics)
            target.results.write_doc_metrics(path, _columns(evaluation.docs[task.name]))
    tables = evaluation.lm_eval
    tables_path = target.results.lm_eval_tables_path(target.plan.plan_id)
    if not tables_path.exists():
        write_json(tables_path, {k: v for k, v in tables.items() if k not in PER_CHECKPOINT})
    write_json(
        target.results.metrics_path(target.plan.plan_id, target.model_id, target.numerics),
        {
            "rows": [{**row, "setting": settings[row["task"]]} for row in evaluation.rows],
            "missing": evaluation.missing,
            "lm_eval": {key: tables[key] for key in PER_CHECKPOINT if key in tables},
        },
    )
    return evaluation.missing


def _by_request(
    scores: Scores, request_of: npt.NDArray[np.int64], n_requests: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """A request's log-likelihood is the sum over its sequences; greedy if all of them are."""
    loglikelihood = np.zeros(n_requests)
    np.add.at(loglikelihood, request_of, scores.loglikelihood)
    greedy = np.ones(n_requests, dtype=np.bool_)
    np.logical_and.at(greedy, request_of, scores.greedy)
    return loglikelihood, greedy


def _columns(docs: Any) -> dict[str, list[Any]]:
    """Per-doc metrics as columns; what is no number (a pair to be aggregated) as JSON."""
    columns: dict[str, list[Any]] = {"doc_id": docs.doc_id, "filter": docs.filter, "filtered": docs.filtered}
    for metric, values in docs.metrics.items():
        if all(value is None or isinstance(value, int | float | np.number | np.bool_) for value in values):
            columns[f"metric:{metric}"] = [None if value is None else float(value) for value in values]
        else:
            columns[f"json:{metric}"] = [json.dumps(value, default=_plain_number) for value in values]
    return columns


def _plain_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _settings_of(plan: Plan) -> dict[str, str]:
    """By task and group, a name for how it was asked and counted: figures with another are not comparable."""
    counting = plan.settings["counting"]
    tasks = {task.name: _digest(task.task_id, counting["tasks"][task.name]) for task in plan.tasks}
    members = {
        name: sorted(
            tasks[task] for task, entry in plan.settings["tasks"].items() if name in entry["parents"]
        )
        for name in counting["groups"]
    }
    groups = {name: _digest(members[name], counting["groups"][name]) for name in counting["groups"]}
    return {**tasks, **groups}


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def write_plan_record(results: ResultsFolder, plan: Plan) -> None:
    """What was asked, for people and for readers without lm_eval; once per plan."""
    path = results.plan_path(plan.plan_id)
    if path.exists():
        return
    tasks = [
        {
            "name": task.name,
            "task_id": task.task_id,
            "n_docs": task.n_docs,
            "n_requests": task.encoded.n_requests,
            "n_truncated": task.encoded.n_truncated,
            "n_tokens": len(task.encoded.sequences.tokens),
            "shards": [[shard.shard_id, shard.first, shard.last] for shard in task.shards],
        }
        for task in plan.tasks
    ]
    for task in plan.tasks:
        if not results.docs_path(task.task_id).exists():
            results.write_docs(task.task_id, task.docs.columns())
    write_json(
        path,
        {
            "plan_id": plan.plan_id,
            "tokenizer_id": plan.tokenizer_id,
            "max_length": plan.max_length,
            "settings": plan.settings,
            "tasks": tasks,
        },
    )
