"""`evaluate`: what `milepost run` does, as a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.api.results import Results
from milepost.run.config import EvalConfig
from milepost.types.checkpoints import Checkpoint

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milepost.run.display.timing import LongRunPolicy
    from milepost.run.keyword_options import EvalOptions
    from milepost.run.outcome import Outcome


def evaluate(
    sources: str | Path | Sequence[str | Path],
    tasks: str | Sequence[str] = (),
    **options: Unpack[EvalOptions],
) -> Results:
    """Score every checkpoint of `sources` on `tasks`; what the results folder has is not computed again.

    `milepost.evaluate("runs/my-500m", "arc_easy,mmlu", output_path="results", num_fewshot=5)`

    Args:
        sources: folders or Hub addresses (`hf://org/name@step-*`); each is a training run.
        tasks: lm_eval task, group or tag names, comma-separated or a sequence; glob patterns work.
        options: `output_path` (the results folder, new or of an earlier call) and any other field of
            `EvalConfig`, named and explained as the options of `milepost run` (docs/cli.md).

    Returns:
        The results; checkpoints that could not be used are in `Results.failures`.

    Raises:
        MilepostError: something the caller can mend, with a hint; nothing has been written then.
    """
    return evaluate_config(EvalConfig.from_options(sources, tasks, **options))


def evaluate_config(config: EvalConfig, long_run: LongRunPolicy | None = None) -> Results:
    """Do what `config` says. Returns and raises as `evaluate`.

    Args:
        long_run: whether a person is asked before a run that takes long; nobody is by default.
    """
    from milepost.recorders import open_recording
    from milepost.run.display.journal import Journal, parse_level
    from milepost.run.evaluation import evaluate_run

    recording = open_recording(config.record, config.record_project)
    with Journal(parse_level(config.verbosity)) as journal:
        outcome = evaluate_run(config, journal, recording, long_run)
        if config.log_samples and not config.leaves_metrics:
            _write_sample_files(outcome, config)
    return Results(
        outcome.results.path,
        failures={_name(failure.checkpoint): failure.reason for failure in outcome.failed},
        scored=tuple(_name(checkpoint) for checkpoint in outcome.scored),
        reused=tuple(_name(checkpoint) for checkpoint in outcome.reused),
        without_metrics=tuple(_name(checkpoint) for checkpoint in outcome.without_metrics),
        full_job=outcome.full_job,
    )


def batch_script(config: EvalConfig) -> str:
    """Return the script of the jobs that `--executor slurm` would submit. Raises as `evaluate`."""
    from milepost.run.display.journal import Journal, parse_level
    from milepost.run.evaluation import batch_script

    with Journal(parse_level(config.verbosity)) as journal:
        return batch_script(config, journal)


def save_plan(
    sources: str | Path | Sequence[str | Path],
    tasks: str | Sequence[str],
    folder: str | Path,
    **options: Any,
) -> None:
    """Save the questions that `evaluate` would ask, as token ids, to be asked where lm_eval is not installed.

    Reads configs and tokenizers, and no weights.

    Args:
        sources, tasks: as of `evaluate`.
        folder: where to save; `evaluate(..., plan=folder)` and `milepost.run.score_plan` take it.
        options: as of `evaluate`, without `output_path`; what does not change a prompt has no effect.

    Raises:
        MilepostError: something the caller can mend, with a hint.
    """
    from milepost.run.display.journal import Journal, parse_level
    from milepost.run.evaluation import save_run_plan

    config = EvalConfig.from_options(sources, tasks, output_path=folder, **options)
    with Journal(parse_level(config.verbosity)) as journal:
        save_run_plan(config, journal, Path(folder))


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.series}/{checkpoint.name}"


def _write_sample_files(outcome: Outcome, config: EvalConfig) -> None:
    """Write lm_eval's files beside each checkpoint's log, and HELM's in `runs`.

    Those of an earlier run stand while the scores do.
    """
    from milepost.api.helm_files import export_helm
    from milepost.report.lm_eval_files import export_lm_eval
    from milepost.store import ResultsIndex, listing

    index = ResultsIndex(outcome.results)
    wanted = {(c.series, c.name) for c in outcome.scored}
    wanted |= {
        (c.series, c.name)
        for c in outcome.reused
        if not listing.files(index.folder.log_folder(c.series, c.name), "results_*.json")
    }
    lacking = {(failure.checkpoint.series, failure.checkpoint.name) for failure in outcome.failed}
    if lacking:  # a checkpoint that lacks one metric has the others
        wanted |= lacking & {(c.series, c.name) for _, c in index.current_plans()}
    if wanted:
        export_lm_eval(index, index.folder.path, only=wanted)
        if config.tasks.helm:
            export_helm(index, index.folder.path, only=wanted)
