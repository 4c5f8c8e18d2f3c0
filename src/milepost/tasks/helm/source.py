"""HELM's scenarios as a source of questions. HELM is imported when one is asked of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.errors import TaskError
from milepost.tasks.helm.deferred import defer_imports
from milepost.tasks.helm.entries import read_entries
from milepost.tasks.helm.installation import helm_version
from milepost.tasks.helm.new_folders import removing_if_empty
from milepost.tasks.question_source import (
    Description,
    Evaluation,
    ModelTraits,
    PlannedDocs,
    Responses,
    TaskRequests,
)
from milepost.text.language import Phrase
from milepost.types.metrics import Estimate
from milepost.types.picks import PickCounts

if TYPE_CHECKING:
    from milepost.tasks.helm.entries import Entry
    from milepost.tasks.helm.runs import PlannedRun
    from milepost.tasks.settings import TaskSettings

DEFAULT_DATA = Path("benchmark_output")
"""Where `helm-run` puts its output without `--output-path`."""


OF_LM_EVAL = ("num_fewshot", "samples", "gen_kwargs", "system_instruction", "apply_chat_template")
"""Options that HELM's questions do not know."""


class HelmTasks:
    """The runs of some entries; see `question_source.QuestionSet`."""

    def __init__(self, settings: TaskSettings, models: ModelTraits, entries: list[Entry]) -> None:
        self._settings = settings
        self._models = models
        self._entries = entries
        self._made: dict[str, PlannedRun] = {}
        """By task, what `requests` has made."""

    def requests(self) -> Iterator[TaskRequests]:
        """Yield the requests of each run; see `runs.plan_runs`."""
        defer_imports()
        from milepost.tasks.helm.runs import plan_runs

        data = data_folder(self._settings)
        with removing_if_empty(data):
            for run in plan_runs(self._settings, self._models, self._entries, data):
                self._made[run.requests.task] = run
                yield run.requests
        used = {run.entry for run in self._made.values()}
        self._entries = [entry for entry in self._entries if entry in used]

    def describe(self) -> Description:
        """See `question_source.QuestionSet`; of the runs that `requests` has made."""
        return Description(
            counting={"tasks": {name: run.counting for name, run in self._made.items()}, "groups": {}},
            configs=_hash([run.description for run in self._made.values()]),
            tasks={name: run.description for name, run in self._made.items()},
        )

    def digest(self) -> str:
        """See `question_source.QuestionSet`; a plan that lacks entries is not taken for the whole one."""
        return digest_of(self._entries)

    def data_used(self) -> list[dict[str, Any]] | None:
        """Return the folders that the data of scenarios and perturbations lie in."""
        folders = dict.fromkeys(folder for run in self._made.values() for folder in run.folders)
        return [{"folder": folder, "state": state_of_folder(folder)} for folder in folders]

    def compute_metrics(
        self, responses: Mapping[str, Responses], planned: Mapping[str, PlannedDocs]
    ) -> Evaluation:
        """Compute HELM's statistics; see `evaluation.evaluate`."""
        defer_imports()
        from milepost.tasks.helm.evaluation import evaluate

        return evaluate(planned, responses, self._models, data_folder(self._settings))

    def group_metrics(
        self, metrics: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
    ) -> dict[str, dict[str, Estimate]]:
        """Return nothing: HELM's runs are in no group of tasks."""
        return {}

    def group_picks(self, picks: Mapping[str, PickCounts]) -> dict[str, PickCounts]:
        """Return nothing, as `group_metrics`."""
        return {}

    def needs_main_thread(self) -> bool:
        """Return True: importing HELM's metrics sets a signal handler (code_metrics_helper.py)."""
        return True

    def find_difference(
        self, counting: Mapping[str, Any], doc_hashes: Mapping[str, Callable[[], list[str]]]
    ) -> str | None:
        """Compare HELM's version; the docs come from the plan itself."""
        made_with = {how["version"] for how in counting["tasks"].values()}
        return None if made_with <= {helm_version()} else "statistics (another version)"


class Helm:
    """See `question_source.QuestionSource`."""

    name = "helm"

    def is_used(self, settings: TaskSettings) -> bool:
        """Return whether run entries are given."""
        return bool(settings.helm)

    def check(self, settings: TaskSettings) -> str:
        """Read the entries and make their run specs.

        Raises:
            TaskError: an entry or a file of entries is malformed, HELM does not have the entry, or it needs
                what Milepost does not do; there can be no data.
            MilepostError: HELM is not installed.
        """
        data = data_folder(settings)
        if data.exists() and not data.is_dir():
            raise TaskError(
                Phrase("--helm-data {data} is not a folder", data=data), "pass HELM's output folder"
            )
        _check_options(settings)
        entries = read_entries(settings.helm)
        defer_imports()
        from milepost.tasks.helm.entry_runs import check_entries

        with removing_if_empty(data):
            check_entries(settings, tuple(entries), data)
        return digest_of(entries)

    def load(self, settings: TaskSettings, models: ModelTraits) -> HelmTasks:
        """Read the entries."""
        return HelmTasks(settings, models, read_entries(settings.helm))

    def user_tasks(self, names: Iterable[str]) -> list[str]:
        """Return nothing: HELM's entries are HELM's."""
        return []

    def data_state(self, ref: dict[str, Any]) -> str | None:
        """Return the state of a scenario's folder."""
        return state_of_folder(ref["folder"])


def _check_options(settings: TaskSettings) -> None:
    """Refuse what changes no question of HELM's, where only HELM's are asked."""
    for name in () if settings.names else OF_LM_EVAL:
        if getattr(settings, name) not in (None, False):
            raise TaskError(
                Phrase("{flag} is for lm_eval's tasks", flag="--" + name.replace("_", "-")),
                "HELM's entries take --max-train-instances and arguments of their own; leave it out, or name"
                " tasks with --tasks",
            )


def data_folder(settings: TaskSettings) -> Path:
    """Return HELM's output folder, in which the data of the scenarios are."""
    return (settings.helm_data or DEFAULT_DATA).expanduser()


def digest_of(entries: list[Entry]) -> str:
    """Return a hash of the entries and of HELM's version."""
    return _hash([helm_version(), *([entry.description, entry.groups] for entry in entries)])


def state_of_folder(folder: str) -> str:
    """Return a hash of names, sizes and times of a scenario's files; HELM's code pins data of the Hub."""
    files = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if not name.endswith(".lock"):
                stat = os.stat(path)
                files.append([os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns])
    return _hash(sorted(files))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


SOURCE = Helm()
