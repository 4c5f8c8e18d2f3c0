"""HELM's files of a results folder, for helm-summarize, helm-server and whatever else reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from milepost.errors import ResultsError
from milepost.plan.plan import Plan, TaskPlan
from milepost.run.checkpoint_metrics import planned_docs, responses_of
from milepost.run.later_metrics import stored_target
from milepost.run.plan_from_records import read_stored_plan
from milepost.run.prompt_tokens import run_tokenizer
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.atomic_files import write_atomically
from milepost.store.confinement import confine
from milepost.store.file_names import file_part
from milepost.store.records import CheckpointRecord
from milepost.tasks.question_source import ModelTraits
from milepost.tasks.registry import source_of
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase

SUITE = "milepost"
"""HELM's name for a set of runs that are summarised together."""


def export_helm(
    index: ResultsIndex, out: Path, *, suite: str = SUITE, only: set[tuple[str, str]] | None = None
) -> list[Path]:
    """Write HELM's files of every current checkpoint that has HELM's statistics; return the run folders.

    Args:
        only: (series, checkpoint) pairs to export; None for all.

    Raises:
        ResultsError: nothing of HELM in the results, or a damaged record.
        MilepostError: HELM is not installed, or the checkpoints' tokenizer is not there any more.
    """
    from milepost.tasks.helm.deferred import defer_imports
    from milepost.tasks.helm.installation import helm_version

    helm_version()
    defer_imports()
    confine(out)
    written: list[Path] = []
    for plan_id, checkpoint in index.current_plans():
        if only is None or (checkpoint.series, checkpoint.name) in only:
            written += _export_one(index, out / "runs" / suite, plan_id, checkpoint)
    if not written:
        raise ResultsError(
            Phrase("{path} has no statistics of HELM's", path=index.folder.path),
            "milepost run SOURCE --helm ENTRY writes them",
        )
    return written


def _export_one(index: ResultsIndex, out: Path, plan_id: str, checkpoint: CheckpointRecord) -> Iterator[Path]:
    missing = index.metrics_record(plan_id, checkpoint).missing
    plan = read_stored_plan(index.folder, plan_id)
    for task in plan.tasks:
        if source_of(plan.settings["tasks"][task.name]) == "helm" and task.name not in missing:
            yield _write_run(index.folder, out, plan, task, checkpoint)


def _write_run(
    folder: ResultsFolder, out: Path, plan: Plan, task: TaskPlan, checkpoint: CheckpointRecord
) -> Path:
    from milepost.tasks.helm.files import run_files
    from milepost.tasks.helm.source import data_folder

    models = ModelTraits(
        load_tokenizer=lambda: run_tokenizer(folder.path, checkpoint.series)[0],
        tokenizer_id=plan.tokenizer_id,
        max_length=plan.max_length,
    )
    answers = responses_of(stored_target(folder, plan, checkpoint), task).generated or ()
    model = f"{file_part(checkpoint.series)}/{file_part(checkpoint.name)}"
    data = data_folder(TaskSettings.from_json(plan.settings["asked"]))
    files = run_files(planned_docs(plan, task), answers, models, model, data)
    for path, content in files.items():
        write_atomically(out / path, content)
    return out / next(iter(files)).parent
