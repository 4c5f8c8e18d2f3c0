"""`compare`: measure what pruning, fine-tuning or anything else changed, and write a report.

Models without results are run first, each into its own results folder, so that the work on one model is kept
whatever becomes of the others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.api.evaluate import evaluate_config
from milepost.api.named_models import EarlierReport, NamedModel, name_models, report_model
from milepost.buckets import as_path, in_bucket
from milepost.errors import (
    CheckpointError,
    MilepostError,
    ResultsError,
    SourceError,
    TaskError,
    TokenizerError,
)
from milepost.run.config import EvalConfig, check_options
from milepost.run.display.timing import LongRunPolicy
from milepost.sources import Overrides
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import cannot_write
from milepost.store.folder import is_results_folder
from milepost.text.language import Phrase

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milepost.report.comparison.study import ReportedModel, Study
    from milepost.run.keyword_options import EvalOptions, ModelOptions

logger = logging.getLogger("milepost.run")

PERPLEXITY_TASKS = ("ppl_fixed", "wikitext")
"""Scored besides the tasks that are asked for, unless that is not wanted: wikitext-2 in the pruning papers'
windows, and as lm_eval has it."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Outcome of `compare`."""

    study: Study | None
    """None where the original, or every other model, could not be measured."""
    files: tuple[Path, ...]
    failures: dict[str, str]
    """Role of a model (`original`, `pruned`, ...) to the reason that it has no results, or not all."""


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
    A report of other tasks of the same models in that folder is added to.

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
    from milepost.report.comparison.study import make_study

    check_options("compare", options)
    folder = as_path(output_path)
    named = [original, *([others] if isinstance(others, str | Path) else others)]
    names = _task_names(tasks)
    config = options.get("config")
    overrides = Overrides(config=None if config is None else Path(config), base=options.get("base"))
    has_tasks = bool(names or options.get("suite") or options.get("helm"))
    given = name_models([str(name) for name in named], overrides, has_tasks=has_tasks)
    _check_folder(folder)
    to_run = [model for model in given if model.is_to_run]
    _check_engine(options.get("engine"), len(to_run))
    failures: dict[str, str] = {}
    models = []
    for model in given:
        say(f"{model.role}: {model.name}")
        try:
            place, checkpoint = model.results, model.checkpoint
            if place is None:
                # The first run says how long all of them take, and asks leave for all.
                after = len(to_run) - to_run.index(model) - 1
                long_run = LongRunPolicy(ask=ask and model is to_run[0], models_after=after)
                place, checkpoint = _run(
                    model, names, folder / model.role, perplexity, options, long_run, failures
                )
            earlier = EarlierReport.read(folder / _name_of_file(model.role))
            models.append(report_model(model, place, checkpoint, names, say, earlier))
        except (SourceError, CheckpointError, TokenizerError, ResultsError) as error:
            if not model.is_to_run or len(given) == len(failures) + 1:
                raise
            failures[model.role] = error.message
            continue
        if model.is_to_run:  # kept whatever becomes of the others
            _write(folder, _model_file(models[-1]))
    study = make_study(models, examples)
    files = [_model_file(model) for model in models]
    return Compared(study, tuple(_write(folder, *files, *_reports(study))), failures)


def _task_names(tasks: str | Sequence[str]) -> tuple[str, ...]:
    listed = [tasks] if isinstance(tasks, str) else list(tasks)
    return tuple(name.strip() for text in listed for name in text.split(",") if name.strip())


def _check_folder(folder: Path) -> None:
    is_file = not in_bucket(folder) and folder.is_file()
    what = Phrase("a file") if is_file else Phrase("a results folder") if is_results_folder(folder) else None
    if what is not None:
        raise ResultsError(
            Phrase("{folder} is {what}", folder=folder, what=what), "choose another folder for --output-path"
        )


def _check_engine(engine: str | None, to_run: int) -> None:
    if engine == "openai" and to_run > 1:
        raise MilepostError(
            Phrase("a server holds one model, and {to_run} are to be run", to_run=to_run),
            "run each with `milepost run --engine openai` and a server of its own, then compare the RESULTS",
        )


def _run(
    model: NamedModel,
    tasks: Sequence[str],
    place: Path,
    perplexity: bool,
    options: ModelOptions,
    long_run: LongRunPolicy,
    failures: dict[str, str],
) -> tuple[Path, str]:
    """Evaluate a model; return its results folder and the name that it has there."""
    assert model.source is not None
    added = [task for task in PERPLEXITY_TASKS if perplexity and task not in tasks]
    try:
        complete: EvalOptions = {**options, "output_path": place}
        config = EvalConfig.from_options(model.source.source, [*tasks, *added], **complete)
        results = evaluate_config(config, long_run)
    except TaskError as error:
        if any(task in error.message for task in added):
            raise TaskError(error.message, "--no-perplexity goes without wikitext") from error
        raise
    ((name, reason),) = {**dict.fromkeys((*results.scored, *results.reused)), **results.failures}.items()
    if reason is not None:
        failures[model.role] = reason
    return results.path, name


def _model_file(model: ReportedModel) -> tuple[str, str]:
    from milepost.report.comparison.records import model_record

    return _name_of_file(model.role), _json(model_record(model))


def _name_of_file(role: str) -> str:
    return f"{role}_model_results.json"


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
        inside.make_folder(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    for name, text in files:
        write_file(folder / name, text.encode())
    return [folder / name for name, _ in files]


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
