"""The models that `compare` is given: results folders, or sources to run, with their answers and zeros."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.buckets import as_path
from milepost.errors import CheckpointError, MilepostError, ResultsError, SourceError
from milepost.files import fastjson
from milepost.files.cache import cache_folder
from milepost.sources import Overrides, discover, fetch, identify, is_fetched
from milepost.store import ResultsIndex
from milepost.store.doc_records import read_answers
from milepost.store.folder import is_results_folder
from milepost.store.sparsity import keep_sparsity
from milepost.text.language import Phrase, _
from milepost.text.name_matching import matches
from milepost.types.answers import ModelAnswers

if TYPE_CHECKING:
    from milepost.report.comparison.study import ReportedModel
    from milepost.types.checkpoints import Checkpoint
    from milepost.types.metrics import Measurement
    from milepost.types.sparsity import Sparsity

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model as it was named."""

    role: str
    name: str
    results: Path | None = None
    """The results folder that it is in already; None where it is to be run."""
    checkpoint: str | None = None
    """The checkpoint there; None for the last."""
    source: Checkpoint | None = None

    @property
    def is_to_run(self) -> bool:
        """Return whether the model has no results yet."""
        return self.results is None


@dataclass(frozen=True, slots=True)
class EarlierReport:
    """A model and its tasks in an earlier report in the same folder."""

    model_id: str
    tasks: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> EarlierReport | None:
        """Return what a `*_model_results.json` holds; None where there is none, or it is of another kind."""
        try:
            found = fastjson.loads(path.read_bytes())
            return cls(str(found["model_id"]), tuple(found["tasks"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def name_models(names: Sequence[str], overrides: Overrides, *, has_tasks: bool) -> list[NamedModel]:
    """Return the models with these names: RESULTS, RESULTS@CHECKPOINT or SOURCE; the first is the original.

    Args:
        overrides: for the sources.
        has_tasks: whether there is something to run a source on.

    Raises:
        MilepostError: fewer than two names, a source without checkpoints, or one to run on no task.
    """
    if len(names) < 2:
        raise MilepostError("only one model is given", "name the original, then what to compare with it")
    found = []
    for place, name in enumerate(names):
        role = "original" if place == 0 else "pruned" if place == 1 else f"pruned_{place}"
        results, checkpoint = _as_results(name)
        if results is not None:
            found.append(NamedModel(role, name, results=results, checkpoint=checkpoint))
            continue
        if not has_tasks:
            raise MilepostError(
                Phrase("{name} is to be run, but on no task", name=name),
                "pass -t TASK,... or --suite pruning",
            )
        found.append(NamedModel(role, name, source=_last_checkpoint(name, overrides)))
    return found


def _as_results(name: str) -> tuple[Path | None, str | None]:
    """Return folder and checkpoint of RESULTS or RESULTS@CHECKPOINT; (None, None) for a SOURCE."""
    if is_results_folder(as_path(name)):
        return as_path(name), None
    before, at, after = name.rpartition("@")
    if at and is_results_folder(as_path(before)):
        return as_path(before), after
    return None, None


def _last_checkpoint(source: str, overrides: Overrides) -> Checkpoint:
    checkpoints = discover(source, overrides=overrides).checkpoints
    usable = [checkpoint for checkpoint in checkpoints if checkpoint.problem is None] or list(checkpoints)
    if len(checkpoints) > 1:
        logger.warning("%s has %d checkpoints; compared is %s", source, len(checkpoints), usable[-1].name)
    return usable[-1]


def report_model(
    model: NamedModel,
    results: Path,
    checkpoint: str | None,
    tasks: Sequence[str],
    say: Callable[[str], None],
    earlier: EarlierReport | None = None,
) -> ReportedModel:
    """Read a model's answers and count the zeros of its weights.

    Args:
        results: the folder that it is in, given or just run.
        checkpoint: its name there; None for the last.
        tasks: patterns; of results that were given only these are compared.
        say: called with a line before the weights are read.
        earlier: a report of the same role, whose tasks are compared again if it is of the same model.

    Raises:
        ResultsError: the folder has no metrics of the checkpoint or the tasks, or a damaged record.
    """
    from milepost.report.comparison.study import ReportedModel

    index = ResultsIndex.open(results)
    answers = read_answers(index, checkpoint)
    if tasks and not model.is_to_run:
        is_same = earlier is not None and earlier.model_id == answers.model_id
        answers = _only(answers, tasks, earlier.tasks if earlier is not None and is_same else ())
    say(_("{model}: counting zeros", model=model.role))
    counted = _sparsity(model, answers)
    if not isinstance(counted, str):
        keep_sparsity(index.folder, answers.model_id, counted)
    return ReportedModel(
        role=model.role,
        answers=answers,
        sparsity=None if isinstance(counted, str) else counted,
        without_sparsity=counted if isinstance(counted, str) else "",
        newest=index.newest,
    )


def _only(answers: ModelAnswers, patterns: Sequence[str], also: Collection[str]) -> ModelAnswers:
    """Return the answers to tasks and groups with these names, and to what is inside those groups.

    Args:
        also: names of other tasks and groups.
    """

    def wanted(metric: Measurement) -> bool:
        return any(matches(known, patterns) for known in (metric.label, metric.task, *metric.parents))

    found = {metric.label for metric in answers.measurements if wanted(metric)}
    kept = found | {metric.label for metric in answers.measurements if metric.task in also}
    if not found:
        raise ResultsError(
            Phrase("{results} has no metrics of {names}", results=answers.results, names=", ".join(patterns)),
            "`milepost show` lists what it has",
        )
    return replace(
        answers,
        tasks={name: task for name, task in answers.tasks.items() if name in kept},
        groups={name: group for name, group in answers.groups.items() if name in kept},
    )


def _sparsity(model: NamedModel, answers: ModelAnswers) -> Sparsity | str:
    """Return the zeros of a model's weights, or why they cannot be counted."""
    source = model.source
    try:
        if source is None:
            source = discover(answers.source).checkpoints[-1]
            if not is_fetched(source):
                return f"its weights are not here; name {answers.source} instead of its results to fetch them"
        identity = identify(source, cache_folder())
        if identity.model_id != answers.model_id:
            return f"{answers.source} holds other weights by now"
        return _count_zeros(source, sum(file.size for file in identity.files))
    except (SourceError, CheckpointError) as error:
        return error.message


def _count_zeros(checkpoint: Checkpoint, bytes_on_disk: int) -> Sparsity:
    from milepost.weights import Bases, read_checkpoint
    from milepost.weights.sparsity import measure_sparsity

    base = None if checkpoint.base is None else Bases().of(checkpoint.base, cache_folder())
    folder = fetch(checkpoint, cache_folder())
    weights = read_checkpoint(folder, checkpoint.format, config_file=checkpoint.config, base=base)
    return measure_sparsity(weights, bytes_on_disk)
