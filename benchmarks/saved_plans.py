"""Save plans for a machine without data: of real tasks, or of synthetic requests for a trial.

    python benchmarks/saved_plans.py FOLDER [--tasks mmlu-0shot mmlu-5shot hellaswag gsm8k]

To be run where lm_eval and the data are.
Each task becomes FOLDER/<task>, to be scored by `python -m milepost.run.score_plan`, and FOLDER/tokenizer
gets the GPT-2 tokenizer, which generated texts need. Prints what each takes; all four are under 64 MiB.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import GPT2, GPT2_VOCABULARY, MAX_LENGTH, SHAPES, offline_hub
from questions import GENERATED, TASKS

if TYPE_CHECKING:
    from milepost.plan.plan import Plan, TaskPlan

TOKENIZER = "tokenizer"
"""The folder beside the plans that has the tokenizer's files."""
MADE_UP_TASKS = 2


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--tasks", nargs="+", choices=[*TASKS, *GENERATED],
        default=["mmlu-0shot", "mmlu-5shot", "hellaswag", "gsm8k"],
    )  # fmt: skip
    parser.add_argument("--limit", type=int, help="docs of each task; default: all (64 of a generated one)")
    options = parser.parse_args(arguments)
    with offline_hub():
        save_real_plans(options.folder, options.tasks, options.limit)


def save_real_plans(folder: Path, tasks: list[str], limit: int | None) -> None:
    """Plan each task as `milepost run --save-plan` does, for a Llama with the GPT-2 tokenizer."""
    from transformers import AutoTokenizer

    from milepost.api.evaluate import save_plan

    tokenizer = AutoTokenizer.from_pretrained(GPT2)
    tokenizer.save_pretrained(folder / TOKENIZER)
    with tempfile.TemporaryDirectory(prefix="milepost-plans-") as temporary:
        model = Path(temporary, "checkpoint-1")
        SHAPES["tiny"].build().save_pretrained(model)
        tokenizer.save_pretrained(model)
        for name in tasks:
            task = {**TASKS, **GENERATED}[name]
            most = limit or (GENERATED_DOCS if name in GENERATED else None)
            save_plan(model, task.lm_eval, folder / name, num_fewshot=task.num_fewshot, limit=most)
            print(f"{folder / name}: {_megabytes(folder / name):.1f} MB", flush=True)
    print(f"{folder / TOKENIZER}: {_megabytes(folder / TOKENIZER):.1f} MB")


GENERATED_DOCS = 64


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def save_made_up_plan(folder: Path, *, docs: int = 4) -> None:
    """Save a plan of random token ids, for which neither data nor lm_eval is needed.

    Args:
        folder: where to.
        docs: of each of two tasks; a doc has four choices, and a task's docs share a beginning.
    """
    from milepost.plan.plan import Plan
    from milepost.plan.plan_files import save_plan
    from milepost.run.plans.plan_cache import write_docs
    from milepost.tasks.settings import TaskSettings

    tasks = tuple(_made_up_task(f"made_up_{number}", docs, number) for number in range(MADE_UP_TASKS))
    settings = TaskSettings(names=tuple(task.name for task in tasks))
    plain = json.loads(json.dumps(dataclasses.asdict(settings), default=str))
    about = {
        "asked": plain,
        "versions": {},
        "counting": {"tasks": {}, "groups": {}},
        "configs": "",
        "tasks": {task.name: {"parents": []} for task in tasks},
        "tokenizer": {},
    }
    plan = Plan(tasks=tasks, tokenizer_id="made-up", max_length=MAX_LENGTH, settings=about)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    save_plan(plan, folder, write_docs)


def _made_up_task(name: str, docs: int, seed: int) -> TaskPlan:
    from milepost.plan.encode import EncodedTask
    from milepost.plan.plan import TaskPlan
    from milepost.plan.shards import DEFAULT_SHARD_TOKENS
    from milepost.types.requests import Request
    from milepost.types.sequences import Sequences

    random = np.random.default_rng(seed)
    beginning = random.integers(0, GPT2_VOCABULARY, 20).tolist()
    rows, requests = [], []
    for doc in range(docs):
        question = random.integers(0, GPT2_VOCABULARY, 15).tolist()
        for choice in range(4):
            rows.append(beginning + question + [1000 * seed + choice])
            requests.append(Request("loglikelihood", doc, choice, f"doc {doc}", f"choice {choice}"))
    encoded = EncodedTask(
        sequences=Sequences(
            tokens=np.array(rows, np.int32).ravel(),
            starts=np.arange(len(rows) + 1, dtype=np.int64) * len(rows[0]),
            n_targets=np.ones(len(rows), np.int32),
        ),
        request_of=np.arange(len(rows), dtype=np.int32),
        n_requests=len(rows),
        n_truncated=0,
    )
    names = [hashlib.sha256(f"{name} {doc}".encode()).hexdigest() for doc in range(docs)]
    about: dict[str, list[Any]] = {
        "doc_id": list(range(docs)),
        "doc": ["{}"] * docs,
        "target": ["0"] * docs,
        "arguments": ["[]"] * docs,
        "doc_hash": names,
        "prompt_hash": names,
        "target_hash": names,
    }
    return TaskPlan.build(name, requests, about, encoded, DEFAULT_SHARD_TOKENS)


def read_plan(folder: Path) -> Plan:
    """Return a saved plan."""
    from milepost.plan.plan_files import load_plan

    return load_plan(folder)


if __name__ == "__main__":
    main()
