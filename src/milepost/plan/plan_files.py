"""Save a plan as a folder of JSON and Parquet files, and load it again.

Workers of one machine share a plan whose token ids are uncompressed Arrow files instead, mapped into memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from milepost.files.arrow import as_array, as_table, read_mapped, read_parquet, write_mappable
from milepost.plan.encode import EncodedTask
from milepost.plan.plan import Docs, Plan, TaskPlan
from milepost.plan.shards import Generations, Shard
from milepost.types.choices import CHOICE_COLUMNS, Choices
from milepost.types.generation import Generation
from milepost.types.sequences import Sequences

if TYPE_CHECKING:
    import pyarrow as pa

_PACKED, _MAPPED = ".parquet", ".arrow"


def save_plan(plan: Plan, folder: Path, write_docs: Callable[[TaskPlan, Path], None] | None) -> None:
    """Write a plan into `folder`, which appears whole or not at all.

    Args:
        write_docs: function that writes a task's docs as a Parquet file; None for a plan that workers of this
            machine share, without docs.
    """
    import pyarrow.parquet as pq

    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    entries = []
    for number, task in enumerate(plan.tasks):
        sequences = task.encoded.sequences
        tables = {
            "tokens": as_table({"token": sequences.tokens}),
            "sequences": as_table(
                {
                    "length": np.diff(sequences.starts),
                    "n_targets": sequences.n_targets,
                    "request": task.encoded.request_of,
                }
            ),
            "requests": as_table(
                {"kind": task.kinds, "doc_id": task.doc_ids, "generation": task.generations.of}
            ),
        }
        if task.choices is not None:
            tables["choices"] = as_table({name: getattr(task.choices, name) for name in CHOICE_COLUMNS})
        for name, table in tables.items():
            if write_docs is None:
                write_mappable(table, temporary / f"{number}.{name}{_MAPPED}")
            else:
                pq.write_table(table, temporary / f"{number}.{name}{_PACKED}", compression="zstd")
        if write_docs is not None:
            write_docs(task, temporary / f"{number}.docs{_PACKED}")
        entries.append(
            {
                "name": task.name,
                "task_id": task.task_id,
                "asked_id": task.asked_id,
                "docs_id": task.docs_id,
                "n_docs": task.n_docs,
                "generations": [generation.as_json() for generation in task.generations.settings],
                "n_requests": task.encoded.n_requests,
                "n_truncated": task.encoded.n_truncated,
                "fixed_choices": None if task.choices is None else task.choices.fixed,
                "shards": [
                    [s.shard_id, s.first, s.last, s.first_sequence, s.last_sequence] for s in task.shards
                ],
            }
        )
    head = {
        "tokenizer_id": plan.tokenizer_id,
        "max_length": plan.max_length,
        "settings": plan.settings,
        "tasks": entries,
    }
    (temporary / "plan.json").write_text(json.dumps(head, ensure_ascii=False), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def load_plan(folder: Path) -> Plan:
    """Read a plan that `save_plan` wrote.

    Raises:
        OSError, ValueError, KeyError: the folder is missing or damaged.
    """
    head = json.loads((folder / "plan.json").read_text("utf-8"))
    tasks = []
    for number, entry in enumerate(head["tasks"]):
        tables = {name: _table(folder, f"{number}.{name}") for name in ("tokens", "sequences", "requests")}
        lengths = as_array(tables["sequences"]["length"])
        tasks.append(
            TaskPlan(
                name=entry["name"],
                task_id=entry["task_id"],
                asked_id=entry["asked_id"],
                docs_id=entry["docs_id"],
                encoded=EncodedTask(
                    sequences=Sequences(
                        tokens=as_array(tables["tokens"]["token"]),
                        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
                        n_targets=as_array(tables["sequences"]["n_targets"]),
                    ),
                    request_of=as_array(tables["sequences"]["request"]),
                    n_requests=entry["n_requests"],
                    n_truncated=entry["n_truncated"],
                ),
                kinds=as_array(tables["requests"]["kind"]),
                doc_ids=as_array(tables["requests"]["doc_id"]),
                generations=Generations(
                    tuple(_generation(settings) for settings in entry["generations"]),
                    as_array(tables["requests"]["generation"]),
                ),
                n_docs=entry["n_docs"],
                docs=Docs(path=folder / f"{number}.docs{_PACKED}"),
                shards=tuple(Shard(*shard) for shard in entry["shards"]),
                choices=_load_choices(folder, f"{number}.choices", entry["fixed_choices"]),
            )
        )
    return Plan(
        tasks=tuple(tasks),
        tokenizer_id=head["tokenizer_id"],
        max_length=head["max_length"],
        settings=head["settings"],
    )


def _table(folder: Path, name: str) -> pa.Table:
    mapped = folder / f"{name}{_MAPPED}"
    return read_mapped(mapped) if mapped.exists() else read_parquet(folder / f"{name}{_PACKED}")


def _generation(entry: dict[str, Any]) -> Generation:
    """Read what `Generation.as_json` returned."""
    lists: dict[str, Any] = {name: tuple(entry[name]) for name in ("until", "stop_tokens")}
    lists["options"] = tuple((name, value) for name, value in entry["options"])
    lists["stop_sequences"] = tuple(tuple(tokens) for tokens in entry.get("stop_sequences", ()))
    return Generation(**{**entry, **lists})


def _load_choices(folder: Path, name: str, fixed: bool | None) -> Choices | None:
    if fixed is None:
        return None
    table = _table(folder, name)
    return Choices(**{name: as_array(table[name]) for name in CHOICE_COLUMNS}, fixed=fixed)
