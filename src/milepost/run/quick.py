"""A quick test of a job: three checkpoints and 100 docs per task, and the estimated time of the full job.

The estimate is measured: the part of a checkpoint's time that grows with the docs (scoring, metrics) and the
part that does not (reading weights) are taken from the checkpoints after the first, which also warms up.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from milepost.plan.plan import Plan
from milepost.run.context import RunContext
from milepost.run.jobs import CheckpointJob
from milepost.run.outcome import FullJob
from milepost.run.timing import Clock
from milepost.store import ResultsFolder
from milepost.store.atomic_files import is_intact, read_json, write_json
from milepost.types import Checkpoint, Series


@dataclass(frozen=True, slots=True)
class _Pace:
    """Time of a checkpoint of the quick test, in seconds."""

    before_s: float
    """Preparation, once: libraries, data, prompts, tokens."""
    fixed_s: float
    scoring_s: float
    n_tokens: int


def first_middle_last(series: Series) -> Series:
    """Return the series with at most three of its usable checkpoints; unchanged where none can be used."""
    usable = _usable(series)
    if not usable:
        return series
    chosen = dict.fromkeys((0, (len(usable) - 1) // 2, len(usable) - 1))
    return replace(series, checkpoints=tuple(usable[i] for i in chosen))


def estimate_full_job(
    jobs: Sequence[CheckpointJob], context: RunContext, preparation_s: float, every: Sequence[Series]
) -> FullJob | None:
    """Estimate the time without `--quick`; None where no speed is known, now or from an earlier test.

    Args:
        jobs: the jobs of the quick test, which are done.
        every: the series with all of their checkpoints.
    """
    plan = jobs[0].plan  # series with another tokenizer have the same docs, and tokens much the same
    pace = _remembered(context.results, plan, _pace(context.clock, preparation_s))
    sizes = _doc_counts(context.results, plan)
    if pace is None or sizes is None:
        return None
    n_tokens = sum(task.n_tokens * sizes[task.name][1] / sizes[task.name][0] for task in plan.tasks)
    tokens_per_s = pace.n_tokens / max(pace.scoring_s, 1e-9)
    n_checkpoints = sum(len(_usable(series)) for series in every)
    return FullJob(
        n_checkpoints=n_checkpoints,
        n_docs=sum(sizes[task.name][1] for task in plan.tasks),
        seconds=pace.before_s + n_checkpoints * (pace.fixed_s + n_tokens / tokens_per_s),
        tokens_per_s=tokens_per_s,
        command=context.config.full_job().command_line(),
    )


def _usable(series: Series) -> list[Checkpoint]:
    return [checkpoint for checkpoint in series.checkpoints if checkpoint.problem is None]


def _pace(clock: Clock, preparation_s: float) -> _Pace | None:
    """Return the median of the checkpoints after the first; None where nothing was scored."""
    laps = [lap for lap in clock.laps.values() if lap.n_tokens]
    if not laps:
        return None
    warm = laps[1:] or laps
    # Metrics are computed beside the scoring of the next checkpoint: they only count where they take longer.
    metrics_s = statistics.median(lap.metrics_s for lap in laps)
    return _Pace(
        before_s=preparation_s,
        fixed_s=statistics.median(max(0.0, lap.seconds - lap.scoring_s) for lap in warm),
        scoring_s=max(statistics.median(lap.scoring_s for lap in warm), metrics_s),
        n_tokens=round(statistics.median(lap.n_tokens for lap in warm)),
    )


def _remembered(results: ResultsFolder, plan: Plan, measured: _Pace | None) -> _Pace | None:
    """Keep what was measured now; else return what an earlier test of the same plan measured."""
    path = results.quick_path(plan.plan_id)
    if measured is not None:
        write_json(path, asdict(measured))
        return measured
    return _Pace(**read_json(path)) if is_intact(path) else None


def _doc_counts(results: ResultsFolder, plan: Plan) -> dict[str, tuple[int, int]] | None:
    """Return (docs scored, docs in the data) by task, as lm_eval counted them; None before any metrics."""
    path = results.lm_eval_tables_path(plan.plan_id)
    if not is_intact(path):
        return None
    counts = read_json(path)["n-samples"]
    return {name: (count["effective"], count["original"]) for name, count in counts.items()}
