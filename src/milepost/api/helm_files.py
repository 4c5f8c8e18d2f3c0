"""HELM's files of a results folder, for helm-summarize, helm-server and whatever else reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from milepost.errors import ResultsError
from milepost.plan.plan import Plan, TaskPlan
from milepost.run.metrics.checkpoint_metrics import planned_docs, responses_of
from milepost.run.metrics.later_metrics import stored_target
from milepost.run.plans.plan_from_records import read_stored_plan
from milepost.run.plans.prompt_tokens import run_tokenizer
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
    runs = list(_runs(index))
    written = [
        _write_run(index.folder, out / "runs" / suite, run, name)
        for run, name in zip(runs, _names(runs), strict=True)
        if only is None or (run.checkpoint.series, run.checkpoint.name) in only
    ]
    if not written:
        raise ResultsError(
            Phrase("{path} has no statistics of HELM's", path=index.folder.path),
            "milepost run SOURCE --helm ENTRY writes them",
        )
    return written


@dataclass(frozen=True, slots=True)
class _Run:
    plan: Plan
    task: TaskPlan
    checkpoint: CheckpointRecord
    variant: str
    """See `TaskMetrics.variant`."""

    @property
    def model(self) -> str:
        """The name in HELM's files, with one slash."""
        return f"{file_part(self.checkpoint.series)}/{file_part(self.checkpoint.name)}"


def _runs(index: ResultsIndex) -> Iterator[_Run]:
    """Yield what has HELM's statistics: by checkpoint, each entry in each of its settings."""
    plans: dict[str, Plan] = {}
    for found in index.tasks(()):
        if found.plan_id not in plans:
            plans[found.plan_id] = read_stored_plan(index.folder, found.plan_id)
        plan = plans[found.plan_id]
        task = next((task for task in plan.tasks if task.name == found.task), None)
        if task is None or source_of(plan.settings["tasks"][task.name]) != "helm":
            continue
        if task.name not in index.metrics_record(found.plan_id, found.checkpoint).missing:
            yield _Run(plan, task, found.checkpoint, found.variant)


def _names(runs: Sequence[_Run]) -> list[str]:
    """Return HELM's names of the runs, with more arguments where several share one."""
    from milepost.tasks.helm.files import name_of, name_with_more

    own = [name_of(planned_docs(run.plan, run.task), run.model) for run in runs]
    counts = Counter(own)
    return [
        name if counts[name] == 1 else name_with_more(name, planned_docs(run.plan, run.task), run.variant)
        for run, name in zip(runs, own, strict=True)
    ]


def _write_run(folder: ResultsFolder, out: Path, run: _Run, name: str) -> Path:
    from milepost.tasks.helm.files import run_files
    from milepost.tasks.helm.source import data_folder

    plan, checkpoint = run.plan, run.checkpoint
    models = ModelTraits(
        load_tokenizer=lambda: run_tokenizer(folder.path, checkpoint.series)[0],
        tokenizer_id=plan.tokenizer_id,
        max_length=plan.max_length,
    )
    answers = responses_of(stored_target(folder, plan, checkpoint), run.task).generated or ()
    data = data_folder(TaskSettings.from_json(plan.settings["asked"]))
    files = run_files(planned_docs(plan, run.task), answers, models, run.model, name, data)
    for path, content in files.items():
        write_atomically(out / name / path, content)
    return out / name
