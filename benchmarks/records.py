"""Make a results folder of the size of a whole training run without a model, and measure reading it.

    python benchmarks/records.py out            27 checkpoints x 14,042 docs x 3 tasks: 1.1 million records
    python benchmarks/records.py out --measure  times the commands that read it; makes it first if need be

Everything goes through the store's own writers. The questions have MMLU's number of subjects and docs. In
`mmlu` and `mmlu_five_shot` a model knows nothing and changes its favourite letter; in `mmlu_continuation`
it learns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milepost.analysis.choice_metrics import free_metrics, pick_metrics
from milepost.analysis.choice_values import doc_metrics
from milepost.analysis.constant_answer import count_picks
from milepost.results.training import note_training
from milepost.run.metrics.choice_metrics import ComputedChoices
from milepost.store import ResultsFolder
from milepost.store.atomic_files import write_json
from milepost.store.metrics_record import MetricsRecord, metric_row
from milepost.store.picks import write_choices
from milepost.store.records import RunRecord, write_record
from milepost.types.choices import Choices
from milepost.types.shard_answers import ShardAnswers

GROUPS = ("mmlu", "mmlu_continuation", "mmlu_five_shot")
FAMILIES = ("humanities", "social_sciences", "stem", "other")
N_DOCS, N_SUBJECTS, N_CHECKPOINTS = 14_042, 57, 27
LETTER_SHARES = (0.22945, 0.24655, 0.25509, 0.26891)
"""How often each letter is right in MMLU's test split."""
NUMERICS = "float32-v1"
USUAL = ("show", "show --all", "show --picks", "show --metric prob_right", "signal", "questions --forgotten")
PLAN = "made-by-benchmarks-records"


@dataclass(frozen=True, slots=True)
class MadeTask:
    """A subject: its choices, and how hard its docs are."""

    name: str
    parents: tuple[str, str]
    choices: Choices
    right: npt.NDArray[np.int64]
    easy: npt.NDArray[np.float64]

    @property
    def task_id(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]

    @property
    def n_docs(self) -> int:
        return len(self.right)


@dataclass
class MadeGroup:
    """The part of lm_eval's `Group` that its aggregation needs."""

    name: str
    leaves: list[MadeTask] = field(default_factory=list)
    aggregate_metric_list: tuple[Any, ...] = (SimpleNamespace(metric="acc", weight_by_size=True),)

    def get_all_tasks(self) -> list[Any]:
        return [SimpleNamespace(task_name=leaf.name) for leaf in self.leaves]


def sizes(n_docs: int) -> list[int]:
    """Return the docs per subject, from a few to a tenth of all, as in MMLU."""
    weights = np.geomspace(1, 15, N_SUBJECTS)
    counts = np.maximum(4, np.floor(weights / weights.sum() * n_docs)).astype(int)
    counts[-1] += n_docs - counts.sum()
    return [int(count) for count in counts]


def make_tasks(n_docs: int) -> list[MadeTask]:
    draw = np.random.default_rng(0)
    made = []
    for group in GROUPS:
        for i, size in enumerate(sizes(n_docs)):
            right = draw.choice(4, size=size, p=LETTER_SHARES)
            parents = (group, f"{group}_{FAMILIES[i % 4]}")
            choices = _choices(draw, right, fixed=group != "mmlu_continuation")
            made.append(MadeTask(f"{group}_subject_{i:02}", parents, choices, right, draw.normal(0, 1, size)))
    return made


def _choices(draw: np.random.Generator, right: npt.NDArray[np.int64], *, fixed: bool) -> Choices:
    n = 4 * len(right)
    lengths = np.ones(n, np.int32) if fixed else draw.integers(3, 60, n).astype(np.int32)
    return Choices(
        doc_id=np.repeat(np.arange(len(right)), 4),
        right=(np.arange(4) == right[:, None]).ravel(),
        chars=lengths,
        bytes=lengths,
        tokens=np.maximum(1, lengths // 4).astype(np.int32),
        fixed=fixed,
        scored_bytes=lengths,
    )


def answers(task: MadeTask, progress: float, seed: int) -> npt.NDArray[np.float64]:
    """Return the log-likelihoods [C] at one checkpoint; a doc keeps its difficulty at all checkpoints."""
    draw = np.random.default_rng([seed, int(task.task_id[:8], 16)])
    logs = draw.normal(0, 1, (task.n_docs, 4))
    if task.choices.fixed:
        logs += np.random.default_rng(seed).normal(0, 2, 4)
    else:
        logs[np.arange(task.n_docs), task.right] += 1.5 * progress + task.easy
    return np.asarray((logs - 3.0).ravel(), dtype=np.float64)


def make(path: Path, *, n_docs: int = N_DOCS, checkpoints: int = N_CHECKPOINTS, scores: bool = True) -> None:
    """Write the whole folder.

    Args:
        scores: also the log-likelihoods and lm_eval's metrics of each doc, which what reads a series does not
            need, and which are most of the files.
    """
    results = ResultsFolder.create(path)
    tasks = make_tasks(n_docs)
    groups = make_groups(tasks)
    for task in tasks:
        results.write_docs(task.task_id, pa.table(dict(_docs(task))))
        write_choices(results.choices_path(task.task_id), task.choices)
    write_json(results.plan_path(PLAN), _plan(tasks))
    for i in range(checkpoints):
        step = 2000 * (i + 1)
        model_id = hashlib.sha256(str(step).encode()).hexdigest()[:32]
        logs = {task.name: answers(task, i / max(1, checkpoints - 1), i) for task in tasks}
        write_figures(results, tasks, groups, model_id, logs)
        if scores:
            write_scores(results, tasks, model_id, logs)
        record = {"series": "made-500m", "checkpoint": f"step-{step}", "step": step}
        write_json(
            results.checkpoint_path("made-500m", f"step-{step}"),
            {**record, "model_id": model_id, "numerics": NUMERICS, "source": f"made/step-{step}"},
        )
    names = [f"step-{2000 * (i + 1)}" for i in range(checkpoints)]
    results.write_run(RunRecord(plan_id=PLAN, series=("made-500m",), checkpoints={"made-500m": tuple(names)}))
    note_training(path)


def make_groups(tasks: Sequence[MadeTask]) -> dict[str, MadeGroup]:
    groups: dict[str, MadeGroup] = {}
    for task in tasks:
        for parent in task.parents:
            groups.setdefault(parent, MadeGroup(parent)).leaves.append(task)
    return groups


def _docs(task: MadeTask) -> Iterator[tuple[str, list[Any]]]:
    n = task.n_docs
    options = ["the first answer", "another one", "the third", "none of these"]
    asked = [
        f"Question {i} of {task.name}: which of the following is so?\nA. {options[0]}\nB. {options[1]}\n"
        f"C. {options[2]}\nD. {options[3]}\nAnswer:"
        for i in range(n)
    ]
    yield "doc_id", list(range(n))
    yield "doc", [json.dumps({"question": asked[i], "choices": options}) for i in range(n)]
    yield "target", [str(right) for right in task.right]
    yield "arguments", [json.dumps([[asked[i], f" {letter}"] for letter in "ABCD"]) for i in range(n)]
    for name in ("doc_hash", "prompt_hash", "target_hash"):
        yield name, [hashlib.sha256(f"{name}{task.name}{i}".encode()).hexdigest() for i in range(n)]


def _plan(tasks: Sequence[MadeTask]) -> dict[str, Any]:
    described = {
        task.name: {"alias": task.name, "output_type": "multiple_choice", "version": 1.0, "num_fewshot": 0}
        | {"dataset": ["made", None], "parents": list(task.parents)}
        for task in tasks
    }
    return {
        "plan_id": PLAN,
        "tokenizer_id": "made",
        "max_length": 2048,
        "settings": {"asked": {"names": list(GROUPS), "limit": None}, "tasks": described, "versions": {}},
        "tasks": [
            {
                "name": task.name,
                "task_id": task.task_id,
                "n_docs": task.n_docs,
                "n_requests": 4 * task.n_docs,
                "n_truncated": 0,
                "n_tokens": 4 * task.n_docs * 80,
                "shards": [[task.task_id, 0, 4 * task.n_docs]],
            }
            for task in tasks
        ],
    }


def write_figures(
    results: ResultsFolder,
    tasks: Sequence[MadeTask],
    groups: dict[str, MadeGroup],
    model_id: str,
    logs: dict[str, npt.NDArray[np.float64]],
) -> None:
    """Write the records of `run.checkpoint_metrics.write_metrics`, with rows as lm_eval would give them."""
    from milepost.tasks.lm_eval.groups import group_metrics, group_picks

    loaded: Any = SimpleNamespace(groups=groups)
    docs = {task.name: doc_metrics(task.choices, logs[task.name]) for task in tasks}
    figures = {task.name: free_metrics(task.choices, docs[task.name]) for task in tasks}
    picks = {task.name: count_picks(task.choices, docs[task.name]) for task in tasks}
    figures |= group_metrics(loaded, figures, {task.name: task.n_docs for task in tasks})
    picks |= group_picks(loaded, picks)
    figures = {name: of | pick_metrics(picks[name]) for name, of in figures.items()}
    free = ComputedChoices(docs, figures, picks)
    parents = {task.name: list(task.parents) for task in tasks}
    parents |= {f"{group}_{family}": [group] for group in GROUPS for family in FAMILIES}
    rows = [
        {
            "task": name,
            "metric": "acc",
            "filter": "none",
            **figures[name]["acc"]._asdict(),
            "higher_is_better": True,
            "kind": "group" if name in groups else "task",
            "alias": name,
            "parents": parents.get(name, []),
            "num_fewshot": 0,
        }
        for name in (*groups, *(task.name for task in tasks))
    ]
    free.write_docs(results.picks_path(PLAN, model_id, NUMERICS))
    record = MetricsRecord(rows=tuple(metric_row(row, "made") for row in rows), choices=free.as_record(rows))
    write_record(results.metrics_path(PLAN, model_id, NUMERICS), record)


def write_scores(
    results: ResultsFolder,
    tasks: Sequence[MadeTask],
    model_id: str,
    logs: dict[str, npt.NDArray[np.float64]],
) -> None:
    for task in tasks:
        ours = logs[task.name]
        results.write_scores(
            results.score_path(model_id, NUMERICS, task.task_id), ShardAnswers(ours, ours > -1.0)
        )
        by_doc = ours.reshape(-1, 4)
        columns = {
            "doc_id": list(range(task.n_docs)),
            "filter": ["none"] * task.n_docs,
            "filtered": [json.dumps([[value, False] for value in row]) for row in by_doc.tolist()],
            "metric:acc": (by_doc.argmax(axis=1) == task.right).astype(float).tolist(),
        }
        results.write_doc_metrics(results.doc_metrics_path(task.task_id, model_id, NUMERICS), columns)


MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, status)
"""


def measure(path: Path, commands: Sequence[str]) -> None:
    """Print CPU seconds, wall seconds and the highest memory of each command, as a Markdown table."""
    print("| command | CPU s | wall s | MiB |\n|---|---|---|---|")
    for command in commands:
        name, *options = command.split()
        arguments = [sys.executable, "-m", "milepost", name, str(path), *options]
        start = time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True
        ).stdout
        wall = time.perf_counter() - start
        cpu, peak, status = said.split()
        note = "" if status == "0" else f" (exit {status})"
        print(f"| `{command}`{note} | {float(cpu):.2f} | {wall:.2f} | {float(peak):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="the folder to make, or one made before")
    parser.add_argument("--docs", type=int, default=N_DOCS, help="docs of each of the three tasks")
    parser.add_argument("--checkpoints", type=int, default=N_CHECKPOINTS)
    parser.add_argument("--no-scores", action="store_true", help="only what reading a series needs")
    parser.add_argument("--measure", nargs="*", metavar="COMMAND", help="time these, such as 'show --all'")
    asked = parser.parse_args()
    if not asked.results.exists():
        start = time.perf_counter()
        make(asked.results, n_docs=asked.docs, checkpoints=asked.checkpoints, scores=not asked.no_scores)
        print(f"made {asked.results} in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if asked.measure is not None:
        measure(asked.results, asked.measure or USUAL)


if __name__ == "__main__":
    main()
