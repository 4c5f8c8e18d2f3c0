"""Keep plans for later runs, under the name of all that they depend on.

A plan depends on the versions of lm_eval and datasets, the text of every task file it uses, the settings, the
tokenizer, the context length, and the state of the data (a Hub commit, a hash of local files).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError, StorageError
from milepost.files.cache import cache_folder, write_cache_file
from milepost.plan.plan import Plan, TaskPlan
from milepost.plan.plan_files import load_plan, save_plan
from milepost.run.software_versions import versions
from milepost.store.layout import docs_name
from milepost.store.tables import write_table
from milepost.tasks.registry import source_named

_LIBRARIES = ("lm_eval", "datasets", "tokenizers")

logger = logging.getLogger("milepost.run")


class PlanCache:
    """The plans that were made of the same inputs."""

    def __init__(self, *inputs: Any) -> None:
        """Find the plans of these inputs, which are JSON values."""
        self._inputs = inputs
        self._folder = cache_folder() / "plans"

    def read(self, task_files: str) -> Plan | None:
        """Return the plan for task files with this digest; None where there is none, or its data changed."""
        folder = self._folder_of(task_files)
        try:
            used = json.loads((folder / "data.json").read_text("utf-8"))
            if not all(_is_current(ref) for ref in used):
                logger.info("the data has changed since the plan was made")
                return None
            plan = load_plan(folder)
        except (OSError, ValueError, KeyError):
            return None  # missing or damaged: it is made again
        self._note_newest(folder.name)
        return plan

    def write(self, plan: Plan, data: list[dict[str, Any]], task_files: str) -> None:
        """Keep a plan with the state of its data; where that fails, later runs make it again."""
        folder = self._folder_of(task_files)
        try:
            save_plan(plan, folder, write_docs)
            (folder / "data.json").write_text(json.dumps(data), "utf-8")
        except (OSError, StorageError) as error:
            logger.info("the plan is not kept for later runs: %s", error)
            shutil.rmtree(folder, ignore_errors=True)
        self._note_newest(folder.name)

    def newest(self) -> Plan:
        """Return the plan that was made or read last, where lm_eval is missing and none can be made.

        Whether task files or data have changed since cannot be found out without lm_eval.

        Raises:
            MilepostError: there is no such plan.
        """
        try:
            return load_plan(self._folder / self._newest_note.read_text("utf-8"))
        except (OSError, ValueError, KeyError) as error:
            raise MilepostError(
                "lm_eval is not installed here, and no plan of these questions is saved",
                "make it where lm_eval is (`milepost run ... --save-plan FOLDER`) and pass --plan FOLDER",
            ) from error

    def _folder_of(self, task_files: str) -> Path:
        relevant = {name: version for name, version in versions().items() if name in _LIBRARIES}
        return self._folder / _digest([relevant, *self._inputs, task_files])

    def _note_newest(self, name: str) -> None:
        """Remember the plan for `newest`."""
        note = self._newest_note
        if not note.is_file() or note.read_text("utf-8") != name:
            write_cache_file(note, name.encode())

    @property
    def _newest_note(self) -> Path:
        return self._folder / f"{_digest(self._inputs)}.newest"


def _is_current(ref: Mapping[str, Any]) -> bool:
    """Return whether data is in the state that it was when a plan was made of it."""
    known = {key: value for key, value in ref.items() if key not in ("source", "state")}
    return bool(source_named(ref["source"]).data_state(known) == ref["state"])


def write_docs(task: TaskPlan, path: Path) -> None:
    """Write a task's docs as a results folder keeps them, so that each folder gets a copy of the file."""
    write_table(path, task.docs.table(), name=docs_name(task.docs_id))


def _digest(value: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
