"""`compare`: what pruning, fine-tuning or anything else changed, measured and written as a report.

Wires the rooms together: models that are not measured yet are run, each into a results folder of its own, so
that what one model has cost is kept whatever becomes of the other; records are read, compared and written.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.api.evaluate import evaluate_config
from milepost.cache import cache_folder
from milepost.errors import (
    CheckpointError,
    MilepostError,
    ResultsError,
    SourceError,
    TaskError,
    TokenizerError,
)
from milepost.name_matching import matches
from milepost.result_types import ModelAnswers
from milepost.run.config import EvalConfig, check_options
from milepost.run.timing import LongRunPolicy
from milepost.sources import Overrides, discover, fetch, identify, is_fetched
from milepost.store import ResultsIndex
from milepost.store.atomic_files import cannot_write
from milepost.store.doc_records import read_answers
from milepost.store.folder import is_results_folder

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milepost.report.comparison.study import ReportedModel, Study
    from milepost.run.config import EvalOptions, ModelOptions
    from milepost.types import Checkpoint, Sparsity

logger = logging.getLogger("milepost.run")

PERPLEXITY_TASKS = ("ppl_fixed", "wikitext")
"""Scored besides the tasks that are asked for, unless that is not wanted: wikitext-2 in the pruning papers'
windows, and as lm_eval has it."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What `compare` did."""

    study: Study | None
    """None where the original, or every other model, could not be measured."""
    files: tuple[Path, ...]
    failures: dict[str, str]
    """Role of a model (`original`, `pruned`, ...) to the reason that it has no results, or not all."""


@dataclass(frozen=True, slots=True)
class _Named:
    """One of the models as it was named."""

    role: str
    name: str
    results: Path | None = None
    """The results folder that it is in already; None where it is to be run."""
    checkpoint: str | None = None
    """Which of the checkpoints there."""
    source: Checkpoint | None = None


def compare(
    original: str | Path,
    others: str | Path | Sequence[str | Path],
    tasks: str | Sequence[str] = (),
    *,
    output_path: str | Path,
    perplexity: bool = True,
    examples: int = 3,
    say: Callable[[str], None] = logger.info,
    ask: bool = False,
    **options: Unpack[ModelOptions],
) -> Compared:
    """Compare models doc by doc and write the report to `output_path`.

    Each model is a SOURCE, which is run (of several checkpoints the last), or RESULTS of an earlier run
    (`RESULTS@CHECKPOINT` for another than the last). Written are `original_model_results.json`,
    `pruned_model_results.json` (`pruned_2_...` for the next variant), `comparison_results.json`,
    `comparison_report.md` and `comparison_report.html`; what was run stands in `original/`, `pruned/`, ...

    Args:
        original, others: what to compare, and with what.
        tasks: as of `milepost.evaluate`; needed where something is run. Of RESULTS only these are compared.
        output_path: a folder, new or of an earlier call.
        perplexity: whether models that are run are scored on wikitext-2 as well, as lm_eval does (`wikitext`)
            and as the pruning papers do (`ppl_fixed`).
        examples: how many docs lost, and gained, are shown of each task.
        say: called with a line whenever something begins.
        ask: whether to ask at the terminal before runs that take long, once for all models.
        options: as of `milepost.evaluate`; those of `milepost compare`.

    Raises:
        MilepostError: something the caller can mend, with a hint; nothing has been written then.
    """
    check_options("compare", options)
    folder = Path(output_path)
    named = [original, *([others] if isinstance(others, str | Path) else others)]
    names = _task_names(tasks)
    config = options.get("config")
    overrides = Overrides(config=None if config is None else Path(config), base=options.get("base"))
    has_tasks = bool(names or options.get("suite") or options.get("helm"))
    given = _understand([str(one) for one in named], overrides, has_tasks=has_tasks)
    _check_folder(folder)
    to_run = [one for one in given if one.results is None]
    _check_engine(options.get("engine"), len(to_run))
    failures: dict[str, str] = {}
    models = []
    for one in given:
        say(f"{one.role}: {one.name}")
        try:
            place, checkpoint = one.results, one.checkpoint
            if place is None:
                # The first run says how long all of them take, and asks leave for all.
                after = len(to_run) - to_run.index(one) - 1
                long_run = LongRunPolicy(ask=ask and one is to_run[0], models_after=after)
                place, checkpoint = _run(
                    one, names, folder / one.role, perplexity, options, long_run, failures
                )
            models.append(_reported(one, place, checkpoint, names, say))
        except (SourceError, CheckpointError, TokenizerError, ResultsError) as error:
            if one.results is not None or len(given) == len(failures) + 1:
                raise
            failures[one.role] = error.message
            continue
        if one in to_run:  # kept whatever becomes of the others
            _write(folder, _model_file(models[-1]))
    study = _study(models, examples)
    files = [_model_file(model) for model in models]
    return Compared(study, tuple(_write(folder, *files, *_reports(study))), failures)


# ---- what was given ------------------------------------------------------------------------------------


def _task_names(tasks: str | Sequence[str]) -> tuple[str, ...]:
    listed = [tasks] if isinstance(tasks, str) else list(tasks)
    return tuple(name.strip() for text in listed for name in text.split(",") if name.strip())


def _understand(named: Sequence[str], overrides: Overrides, *, has_tasks: bool) -> list[_Named]:
    if len(named) < 2:
        raise MilepostError("only one model is given", "name the original, then what to compare with it")
    found = []
    for place, name in enumerate(named):
        role = "original" if place == 0 else "pruned" if place == 1 else f"pruned_{place}"
        results, checkpoint = _as_results(name)
        if results is not None:
            found.append(_Named(role, name, results=results, checkpoint=checkpoint))
            continue
        if not has_tasks:
            raise MilepostError(f"{name} is to be run, but on no task", "pass -t TASK,... or --suite pruning")
        found.append(_Named(role, name, source=_last_checkpoint(name, overrides)))
    return found


def _as_results(name: str) -> tuple[Path | None, str | None]:
    """RESULTS or RESULTS@CHECKPOINT; (None, None) for a SOURCE."""
    if is_results_folder(Path(name)):
        return Path(name), None
    before, at, after = name.rpartition("@")
    if at and is_results_folder(Path(before)):
        return Path(before), after
    return None, None


def _last_checkpoint(source: str, overrides: Overrides) -> Checkpoint:
    checkpoints = discover(source, overrides=overrides).checkpoints
    whole = [one for one in checkpoints if one.problem is None] or list(checkpoints)
    if len(checkpoints) > 1:
        logger.warning("%s has %d checkpoints; compared is %s", source, len(checkpoints), whole[-1].name)
    return whole[-1]


def _check_folder(folder: Path) -> None:
    what = "a file" if folder.is_file() else "a results folder" if is_results_folder(folder) else None
    if what is not None:
        raise ResultsError(f"{folder} is {what}", "choose another folder for --output-path")


def _check_engine(engine: str | None, to_run: int) -> None:
    if engine == "openai" and to_run > 1:
        raise MilepostError(
            f"a server holds one model, and {to_run} are to be run",
            "run each with `milepost run --engine openai` and a server of its own, then compare the RESULTS",
        )


# ---- measuring -----------------------------------------------------------------------------------------


def _run(
    given: _Named,
    tasks: Sequence[str],
    place: Path,
    perplexity: bool,
    options: ModelOptions,
    long_run: LongRunPolicy,
    failures: dict[str, str],
) -> tuple[Path, str]:
    """Evaluate a model; where its results are, and under which name."""
    assert given.source is not None
    added = [task for task in PERPLEXITY_TASKS if perplexity and task not in tasks]
    try:
        complete: EvalOptions = {**options, "output_path": place}
        config = EvalConfig.from_options(given.source.source, [*tasks, *added], **complete)
        results = evaluate_config(config, long_run)
    except TaskError as error:
        if any(task in error.message for task in added):
            raise TaskError(error.message, "--no-perplexity goes without wikitext") from error
        raise
    ((name, reason),) = {**dict.fromkeys((*results.scored, *results.reused)), **results.failures}.items()
    if reason is not None:
        failures[given.role] = reason
    return results.path, name


def _reported(
    given: _Named,
    place: Path,
    checkpoint: str | None,
    tasks: Sequence[str],
    say: Callable[[str], None],
) -> ReportedModel:
    from milepost.report.comparison.study import ReportedModel

    index = ResultsIndex.open(place)
    answers = read_answers(index, checkpoint, newest_run=given.results is None)
    if given.results is not None and tasks:
        answers = _only(answers, tasks)
    say(f"{given.role}: counting zeros")
    counted = _sparsity(given, answers)
    return ReportedModel(
        role=given.role,
        answers=answers,
        sparsity=None if isinstance(counted, str) else counted,
        without_sparsity=counted if isinstance(counted, str) else "",
        newest=index.newest,
    )


def _only(answers: ModelAnswers, patterns: Sequence[str]) -> ModelAnswers:
    """Tasks and groups with these names, and what is inside those groups."""

    def wanted(name: str, parents: Sequence[str]) -> bool:
        return any(matches(known, patterns) for known in (name, *parents))

    kept = {one.task for one in answers.measurements if wanted(one.task, one.parents)}
    if not kept:
        raise ResultsError(
            f"{answers.results} has no figures of {', '.join(patterns)}", "`milepost show` lists what it has"
        )
    return dataclasses.replace(
        answers,
        tasks={name: task for name, task in answers.tasks.items() if name in kept},
        groups={name: group for name, group in answers.groups.items() if name in kept},
    )


def _sparsity(given: _Named, answers: ModelAnswers) -> Sparsity | str:
    """The zeros of a model's weights, or why they cannot be counted."""
    source = given.source
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


# ---- comparing and writing -----------------------------------------------------------------------------


def _study(models: Sequence[ReportedModel], examples: int) -> Study | None:
    """None where there are no two models to compare.

    Raises:
        ResultsError: nothing they answered is the same.
    """
    from milepost.analysis.comparison import compare_models
    from milepost.report.comparison.examples import find_examples
    from milepost.report.comparison.study import Study, Variant

    if len(models) < 2 or models[0].role != "original":
        return None
    first, variants = models[0], []
    for model in models[1:]:
        comparison = compare_models(first.answers, model.answers)
        if not (comparison.tasks or comparison.subjects or comparison.others):
            reasons = "; ".join(f"{what}: {reason}" for what, reason in comparison.uncompared[:3])
            raise ResultsError(
                f"{first.role} and {model.role} have nothing in common to compare ({reasons})",
                "run both on the same tasks, with limits that overlap",
            )
        shown = [find_examples(first.answers, model.answers, one, examples) for one in comparison.tasks]
        variants.append(Variant(model=model, comparison=comparison, examples=shown))
    return Study(original=first, variants=tuple(variants))


def _model_file(model: ReportedModel) -> tuple[str, str]:
    from milepost.report.comparison.records import model_record

    return f"{model.role}_model_results.json", _json(model_record(model))


def _reports(study: Study | None) -> Iterator[tuple[str, str]]:
    from milepost.report.comparison.records import comparison_record
    from milepost.report.comparison.report import comparison_markdown, comparison_page

    if study is not None:
        yield "comparison_results.json", _json(comparison_record(study))
        yield "comparison_report.md", comparison_markdown(study)
        yield "comparison_report.html", comparison_page(study)


def _write(folder: Path, *files: tuple[str, str]) -> list[Path]:
    """Files as (name, text)."""
    from milepost.report.files import write_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    for name, text in files:
        write_file(folder / name, text.encode())
    return [folder / name for name, _ in files]


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
