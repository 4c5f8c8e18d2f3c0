"""The library: `evaluate` does what `milepost run` does, `Results` reads a results folder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from milepost.analysis import Row, record, rows
from milepost.analysis.selection import headline
from milepost.analysis.series import with_gaps
from milepost.errors import MilepostError
from milepost.store import open_results, read_measurements
from milepost.store.reading import without_figures
from milepost.types import Checkpoint

if TYPE_CHECKING:
    import altair
    import pandas
    import polars
    from rich.console import RenderableType

    from milepost.run.outcome import Outcome
    from milepost.run.quick import FullJob


@dataclass(frozen=True, slots=True)
class Results:
    """A results folder, read afresh at each call."""

    path: Path
    failures: Mapping[str, str] = field(default_factory=dict)
    """`series/checkpoint` to the reason it has no figures; like the next two, of this object's run."""
    scored: tuple[str, ...] = ()
    """`series/checkpoint` of what the run computed."""
    reused: tuple[str, ...] = ()
    """`series/checkpoint` of what was there already, or has the weights of another checkpoint."""
    without_metrics: tuple[str, ...] = ()
    """`series/checkpoint` of those of both whose metrics are left for later."""
    full_job: FullJob | None = None
    """Of a quick test: how long the whole job would take."""

    @classmethod
    def open(cls, path: str | Path) -> Results:
        """An existing folder.

        Raises:
            ResultsError: it is not a results folder.
        """
        return cls(open_results(Path(path)).path)

    def rows(self) -> list[Row]:
        """Every figure with its 95 % interval, one per series, checkpoint, task, metric and filter."""
        return rows(read_measurements(self.path))

    def table(self, *, tasks: Sequence[str] = (), metrics: Sequence[str] = ()) -> RenderableType:
        """The table of `milepost show`, for `rich.print`.

        Args:
            tasks: names or glob patterns; empty for groups and the tasks that no group sums up.
            metrics: names or glob patterns; empty for each task's first.

        Raises:
            ResultsError: there is no figure yet, or a pattern matches none.
        """
        from milepost.report.terminal import TableView

        return TableView(self._shown(tasks, metrics))

    def plot(
        self, path: str | Path | None = None, *, tasks: Sequence[str] = (), metrics: Sequence[str] = ()
    ) -> altair.ConcatChart:
        """The learning curves as an Altair chart; also written to `path` (.png, .svg or .html) if given.

        Arguments and errors as `table`.
        """
        from milepost.report.chart import curve
        from milepost.report.files import write_chart

        chart = curve(self._shown(tasks, metrics))
        if path is not None:
            for notice in write_chart(chart, Path(path)):
                warnings.warn(notice, stacklevel=2)
        return chart

    def _shown(self, tasks: Sequence[str], metrics: Sequence[str]) -> list[Row]:
        every = self.rows()
        picked = headline(every, tasks=tasks, metrics=metrics)
        return with_gaps(picked, without_figures(self.path, every))

    def to_records(self) -> list[dict[str, Any]]:
        """The rows as `milepost show --json` prints them."""
        return [record(row) for row in self.rows()]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a pandas data frame, with the columns of `to_records`."""
        import pandas

        return pandas.DataFrame(self.to_records())

    def to_polars(self) -> polars.DataFrame:
        """The rows as a polars data frame, with the columns of `to_records`.

        Raises:
            MilepostError: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise MilepostError("polars is not installed", "pip install 'milepost[polars]'") from error
        return polars.DataFrame(self.to_records(), infer_schema_length=None)


def evaluate(
    sources: str | Path | Sequence[str | Path],
    tasks: str | Sequence[str] = (),
    *,
    output_path: str | Path,
    suite: str | None = None,
    plan: str | Path | None = None,
    scores_only: bool = False,
    quick: bool = False,
    num_fewshot: int | None = None,
    limit: float | None = None,
    samples: Mapping[str, Sequence[int]] | None = None,
    seed: str = "0,1234,1234,1234",
    apply_chat_template: bool | str = False,
    fewshot_as_multiturn: bool | None = None,
    system_instruction: str | None = None,
    gen_kwargs: str | Mapping[str, Any] | None = None,
    include_path: str | Path | None = None,
    metadata: Mapping[str, Any] | None = None,
    allow_task_code: bool = False,
    steps: str | None = None,
    tokenizer: str | None = None,
    config: str | Path | None = None,
    base: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    engine: Literal["auto", "packed", "padded", "reference", "hf-continuous", "openai"] = "auto",
    base_url: str | None = None,
    served_model: str | None = None,
    batch_size: str | int = "auto",
    shard_tokens: int | None = None,
    log_samples: bool = False,
    repair: bool = True,
    ask: bool = False,
    models_after: int = 0,
    reuse_plan: bool = True,
    record: str = "none",
    record_project: str = "milepost",
    verbosity: str = "WARNING",
) -> Results:
    """Score every checkpoint of `sources` on `tasks`; what the results folder has is not computed again.

    Args:
        sources: folders or Hub addresses (`hf://org/name@step-*`); each is a training run.
        tasks: lm_eval task, group or tag names, comma-separated or a sequence; glob patterns work.
        output_path: the results folder, new or of an earlier call.
        suite: a named list of tasks, asked before `tasks`: `early`, `smollm2`, `pruning` or `helm-lite`.
        plan: a folder that `save_plan` wrote, in place of tasks and of what changes their prompts.
        scores_only: store the scores and leave the metrics for a later call, `compute_metrics` or
            `milepost metrics`; they are also left where lm_eval is not installed.
        quick: a test of the job: the first, the middle and the last checkpoint, 100 docs of each task.
        num_fewshot, limit, samples, seed, apply_chat_template, fewshot_as_multiturn, system_instruction,
            include_path: as in lm_eval.
        gen_kwargs: changes to the tasks' `generation_kwargs`: a mapping, or as lm_eval's `--gen_kwargs`.
        metadata: parameters of tasks that have some: for `ppl_*` text, seqlen and stride.
        allow_task_code: let YAML of `include_path` run Python code (`!function`).
        steps: `BEGIN:END:STRIDE`, inclusive; any part may be empty.
        tokenizer: for checkpoints that have none.
        config: a file such as config.json, in place of any that lies beside the checkpoints.
        base: the model that adapters change, in place of the one they name.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: `auto` (the checkpoint's own), `float32`, `float16` or `bfloat16`.
        engine: `auto`, `packed`, `padded` or `reference`, the same scores at different speed;
            `hf-continuous`, texts by transformers' continuous batching; `openai`, a running server.
        base_url, served_model: of the server, such as `http://127.0.0.1:8000/v1`, and of its model there.
        batch_size: tokens per forward pass, or `auto`.
        shard_tokens: tokens per unit of work and storage, shared ones counted once; None for the default.
        log_samples: also write lm_eval's own result and sample files.
        ask: whether to ask on the terminal before a run that will take long; not asked by default.
        models_after: how many further models will be asked the same in calls to come; counted in what is said
            of the time it takes.
        repair: whether a damaged file in the Hub's cache is fetched again; else the checkpoint is refused.
        reuse_plan: whether an unchanged plan of an earlier run may be taken from the cache.
        record: `trackio` or `wandb`, to write each checkpoint's figures there as well; or `none`.
        record_project: the recorder's project.
        verbosity: a logging level.

    Returns:
        The results; checkpoints that could not be used are in `Results.failures`.

    Raises:
        MilepostError: something the caller can mend, with a hint; nothing has been written then.
    """
    from milepost.recorders import open_recording
    from milepost.run.asked import run_settings
    from milepost.run.evaluation import evaluate_run
    from milepost.run.journal import Journal, parse_level

    settings = run_settings(
        sources,
        tasks,
        output_path=output_path,
        suite=suite,
        plan=plan,
        scores_only=scores_only,
        quick=quick,
        num_fewshot=num_fewshot,
        limit=limit,
        samples=samples,
        seed=seed,
        apply_chat_template=apply_chat_template,
        fewshot_as_multiturn=fewshot_as_multiturn,
        system_instruction=system_instruction,
        gen_kwargs=gen_kwargs,
        include_path=include_path,
        metadata=metadata,
        allow_task_code=allow_task_code,
        steps=steps,
        tokenizer=tokenizer,
        config=config,
        base=base,
        device=device,
        dtype=dtype,
        engine=engine,
        base_url=base_url,
        served_model=served_model,
        batch_size=batch_size,
        shard_tokens=shard_tokens,
        log_samples=log_samples,
        repair=repair,
        ask=ask,
        models_after=models_after,
        reuse_plan=reuse_plan,
    )
    recording = open_recording(record, record_project)
    with Journal(parse_level(verbosity)) as journal:
        outcome = evaluate_run(settings, journal, recording)
        if log_samples and not settings.leaves_metrics:
            _write_lm_eval_files(outcome)
    return Results(
        outcome.results.path,
        failures={_name(failure.checkpoint): failure.reason for failure in outcome.failed},
        scored=tuple(_name(checkpoint) for checkpoint in outcome.scored),
        reused=tuple(_name(checkpoint) for checkpoint in outcome.reused),
        without_metrics=tuple(_name(checkpoint) for checkpoint in outcome.without_metrics),
        full_job=outcome.full_job,
    )


def save_plan(
    sources: str | Path | Sequence[str | Path],
    tasks: str | Sequence[str],
    folder: str | Path,
    *,
    verbosity: str = "WARNING",
    **options: Any,
) -> None:
    """Save the questions that `evaluate` would ask, as token ids, to be asked where lm_eval is not installed.

    Reads configs and tokenizers, and no weights.

    Args:
        sources, tasks: as of `evaluate`.
        folder: where to; `evaluate(..., plan=folder)` and `milepost.run.score_plan` take it.
        options: as of `evaluate`; what does not change a prompt has no effect.

    Raises:
        MilepostError: something the caller can mend, with a hint.
    """
    from milepost.run.asked import run_settings
    from milepost.run.evaluation import save_run_plan
    from milepost.run.journal import Journal, parse_level

    settings = run_settings(sources, tasks, output_path=folder, **options)
    with Journal(parse_level(verbosity)) as journal:
        save_run_plan(settings, journal, Path(folder))


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.series}/{checkpoint.name}"


def _write_lm_eval_files(outcome: Outcome) -> None:
    """lm_eval's files beside each checkpoint's log; those of an earlier run stand while the scores do."""
    from milepost.report.lm_eval_files import export_lm_eval

    folder = outcome.results
    wanted = {(c.series, c.name) for c in outcome.scored}
    wanted |= {
        (c.series, c.name)
        for c in outcome.reused
        if not any(folder.log_folder(c.series, c.name).glob("results_*.json"))
    }
    if wanted:
        export_lm_eval(folder.path, folder.path, only=wanted)
