"""Say where each record lies in a results folder; no other file spells these places.

    RESULTS/
      milepost.json                                 marks the folder and its format version
      <checkpoint>/<series>/evaluation.log          what happened, for people; and lm_eval's own files
      store/
        series/<series>.json                        the places where a series' checkpoints have been
        runs/<number>-<time>-<process>.json         what was asked, which plan, which checkpoints
        plans/<plan_id>.json                        settings, tasks, groups, shards
        plans/<plan_id>.requests.parquet            doc, kind and number of targets of each request
        plans/<plan_id>.lm_eval.json                lm_eval's task configs, for its result files
        docs/<docs_id>.parquet                      docs and prompts, once per task
        checkpoints/<series>/<checkpoint>.json      the model that a name stands for now
        scores/<model_id>/<numerics>/<shard>.parquet   log-likelihoods: the costly part
        metrics/<plan_id>/<model_id>-<numerics>.json   metrics of every task and group
        doc_metrics/<task_id>-<counting_id>/<model_id>-<numerics>.parquet
        choices/<docs_id>.parquet                   choices of a multiple-choice task, once per task
        picks/<plan_id>/<model_id>-<numerics>.parquet  the model's pick for each doc
        recorded/<recorder>/<run>.json              metrics that a recorder has
        executed/<command>/<series>/<checkpoint>.json  checkpoints that `watch --exec` has run for
        sparsity/<model_id>.json                    zeros per layer, as `milepost compare` counted them
        quick/<plan_id>.json                        speed of the last quick test
        training.json                               cached verdicts on the curves
        workers/<process>.json, leases/<unit>.<generation>   processes at work

A score file is named by what produced it (weights, token ids, numerics): it is never overwritten, and its
existence means "done".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from milepost.files.results_marker import MARKER
from milepost.store.file_names import safe_name

STORE = "store"
"""The folder of a results folder that holds its records."""


class Kind(NamedTuple):
    """A folder of records below `store/`."""

    name: str
    is_result: bool = True
    """True if the records belong to the results; others describe this machine's work."""
    names_places: bool = False
    """True if the records hold commands and addresses, which may contain a password, and no task text."""
    is_lasting: bool = True
    """True if `milepost verify` checks the records; others exist only while a process works."""


_KINDS = (
    Kind("series", names_places=True),
    Kind("runs", names_places=True),
    Kind("plans"),
    Kind("docs"),
    Kind("checkpoints", names_places=True),
    Kind("scores"),
    Kind("metrics"),
    Kind("doc_metrics"),
    Kind("choices"),
    Kind("picks"),
    Kind("recorded", is_result=False, names_places=True),
    Kind("sparsity", is_result=False),
    Kind("quick", is_result=False, names_places=True),
    Kind("executed", is_result=False, names_places=True),
    Kind("workers", is_result=False, names_places=True, is_lasting=False),
    Kind("leases", is_result=False, is_lasting=False),
)
RECORD_KINDS = tuple(kind.name for kind in _KINDS if kind.is_lasting)
"""Kinds of records that `milepost verify` checks."""
FLEETING_KINDS = tuple(kind.name for kind in _KINDS if not kind.is_lasting)
"""Kinds of records that exist only while a process works."""
RESULT_KINDS = tuple(kind.name for kind in _KINDS if kind.is_result)
"""Kinds of records that `milepost pack` hands in."""
KINDS_WITH_PLACES = frozenset(kind.name for kind in _KINDS if kind.names_places)
"""Kinds of records from which passwords are removed when they are written."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The places in one results folder. Methods return paths, whether or not a file is there."""

    path: Path

    @property
    def marker_path(self) -> Path:
        return self.path / MARKER

    @property
    def store(self) -> Path:
        return self.path / STORE

    def folder_of(self, kind: str) -> Path:
        """Return the folder of one kind of records, such as `runs`."""
        return self.path / STORE / kind

    @property
    def runs_folder(self) -> Path:
        return self.folder_of("runs")

    # ---- questions ------------------------------------------------------------------------------------

    def plan_path(self, plan_id: str) -> Path:
        return self.folder_of("plans") / f"{plan_id}.json"

    def requests_path(self, plan_id: str) -> Path:
        return self.folder_of("plans") / f"{plan_id}.requests.parquet"

    def lm_eval_tables_path(self, plan_id: str) -> Path:
        return self.folder_of("plans") / f"{plan_id}.lm_eval.json"

    def docs_path(self, docs_id: str) -> Path:
        return self.path / STORE / f"{docs_name(docs_id)}.parquet"

    def choices_path(self, docs_id: str) -> Path:
        return self.folder_of("choices") / f"{docs_id}.parquet"

    # ---- answers and metrics --------------------------------------------------------------------------

    def score_path(self, model_id: str, numerics: str, shard_id: str) -> Path:
        return self.scores_folder(model_id) / numerics / f"{shard_id}.parquet"

    def scores_folder(self, model_id: str) -> Path:
        return self.folder_of("scores") / model_id

    def metrics_path(self, plan_id: str, model_id: str, numerics: str) -> Path:
        return self.metrics_folder(plan_id) / f"{model_id}-{numerics}.json"

    def metrics_folder(self, plan_id: str) -> Path:
        return self.folder_of("metrics") / plan_id

    def doc_metrics_path(self, counted_id: str, model_id: str, numerics: str) -> Path:
        """Return the place of one task's metrics per doc; `counted_id` is a `PlannedTask.counted_id`."""
        return self.folder_of("doc_metrics") / counted_id / f"{model_id}-{numerics}.parquet"

    def picks_path(self, plan_id: str, model_id: str, numerics: str) -> Path:
        return self.folder_of("picks") / plan_id / f"{model_id}-{numerics}.parquet"

    # ---- series and checkpoints -----------------------------------------------------------------------

    def series_path(self, series: str) -> Path:
        return self.folder_of("series") / f"{safe_name(series)}.json"

    def checkpoints_folder(self, series: str) -> Path:
        return self.folder_of("checkpoints") / safe_name(series)

    def checkpoint_path(self, series: str, checkpoint: str) -> Path:
        return self.checkpoints_folder(series) / f"{safe_name(checkpoint)}.json"

    def log_folder(self, series: str, checkpoint: str) -> Path:
        """Return the folder of one checkpoint's log and of lm_eval's files."""
        name = safe_name(checkpoint)
        return self.path / (f"{name}_" if name == STORE else name) / safe_name(series)

    def log_folders(self, series: str, checkpoint: str) -> list[Path]:
        """Return the folders that one checkpoint's logs lie in: of several results folders, one of each."""
        return [self.log_folder(series, checkpoint)]

    # ---- work -----------------------------------------------------------------------------------------

    def recorded_path(self, recorder: str, series: str, digest: str) -> Path:
        return self.folder_of("recorded") / recorder / f"{safe_name(series)}-{digest}.json"

    def executed_path(self, command_id: str, series: str, checkpoint: str) -> Path:
        return self.folder_of("executed") / command_id / safe_name(series) / f"{safe_name(checkpoint)}.json"

    def sparsity_path(self, model_id: str) -> Path:
        return self.folder_of("sparsity") / f"{model_id}.json"

    def quick_path(self, plan_id: str) -> Path:
        return self.folder_of("quick") / f"{plan_id}.json"

    @property
    def curve_cache_path(self) -> Path:
        return self.path / STORE / "training.json"

    @property
    def leases_folder(self) -> Path:
        return self.folder_of("leases")

    @property
    def workers_folder(self) -> Path:
        return self.folder_of("workers")

    def worker_path(self, process: str) -> Path:
        return self.folder_of("workers") / f"{process}.json"


def model_of(path: Path) -> tuple[str, str]:
    """Return the model id and the numerics in the name of a file of metrics or picks."""
    model_id, _, numerics = path.stem.partition("-")
    return model_id, numerics


def docs_name(docs_id: str) -> str:
    """Return the name of the record of a task's docs and prompts, the same in every results folder."""
    return f"docs/{docs_id}"


def counted_id(task_id: str, counting_id: str | None) -> str:
    """Return the name of a task's metrics per doc; those of the first versions have no `counting_id`."""
    return task_id if counting_id is None else f"{task_id}-{counting_id}"
