"""A quick test of a job: three checkpoints and 100 docs per task, and the estimated time of the full job.

The estimate is measured: the part of a checkpoint's time that grows with the docs (scoring, metrics) and the
part that does not (reading weights) are taken from the checkpoints after the first, which also warms up.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from milepost.plan.plan import Plan, TaskPlan
from milepost.run.context import RunContext
from milepost.run.display.timing import Clock
from milepost.run.outcome import FullJob
from milepost.run.scoring.jobs import CheckpointJob
from milepost.run.target import plan_shards, work_by_task
from milepost.store import ResultsFolder
from milepost.store.atomic_files import is_intact, read_json, write_json
from milepost.types.checkpoints import Checkpoint, Series


@dataclass(frozen=True, slots=True)
class _Pace:
    """Measured times of the quick test, in seconds."""

    before_s: float
    """Preparation, once: libraries, data, prompts, tokens."""
    fixed_s: float
    """Seconds to read and load the weights of each checkpoint."""
    metrics_s: float
    """Seconds of work on each checkpoint beside the scoring of the next."""
    s_per_work: dict[str, float]
    """By task."""
    tokens_per_s: float


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
    pace = _remembered(context.results, plan, _pace(jobs, context.clock, preparation_s))
    sizes = _doc_counts(context.results, plan)
    if pace is None or sizes is None:
        return None
    scoring_s = sum(pace.s_per_work[task.name] * _work_of_all(task, *sizes[task.name]) for task in plan.tasks)
    n_scored, n_docs = (
        sum(counts) for counts in zip(*(sizes[task.name] for task in plan.tasks), strict=True)
    )
    # Metrics are computed beside the scoring of the next checkpoint: they only count where they take longer.
    metrics_s = pace.metrics_s * n_docs / n_scored
    n_checkpoints = sum(len(_usable(series)) for series in every)
    return FullJob(
        n_checkpoints=n_checkpoints,
        n_docs=n_docs,
        seconds=pace.before_s + n_checkpoints * max(pace.fixed_s + scoring_s, metrics_s) + metrics_s,
        tokens_per_s=pace.tokens_per_s,
        command=context.config.full_job().command_line(),
    )


def _work_of_all(task: TaskPlan, n_scored: int, n_docs: int) -> float:
    """Return the work of all docs of a task, from that of the first.

    What all docs share, such as few-shot examples, is there once: the second half of the docs tells what a
    further doc costs.
    """
    whole = sum(map(task.work_of, task.shards))
    if n_docs <= n_scored or n_scored < 2:
        return whole * n_docs / n_scored
    half = task.work_of(task.first_docs(task.whole, n_scored // 2))
    return whole + (n_docs - n_scored) * (whole - half) / (n_scored - n_scored // 2)


def _usable(series: Series) -> list[Checkpoint]:
    return [checkpoint for checkpoint in series.checkpoints if checkpoint.problem is None]


def _pace(jobs: Sequence[CheckpointJob], clock: Clock, preparation_s: float) -> _Pace | None:
    """Return what the test measured; None where nothing was scored."""
    laps = [lap for lap in clock.laps.values() if lap.work]
    if not laps:
        return None
    warm = laps[1:] or laps
    plan = jobs[0].plan
    scoring_s = statistics.median(lap.scoring_s for lap in warm)
    # The first checkpoint warms up: the speeds are those of all, their level that of the others.
    whole = work_by_task(plan_shards(plan))
    level = scoring_s / max(clock.speeds.seconds(whole), 1e-9)
    return _Pace(
        before_s=preparation_s,
        fixed_s=statistics.median(lap.fixed_s for lap in warm),
        metrics_s=statistics.median(lap.metrics_s for lap in laps),
        s_per_work={task: level * clock.speeds.seconds({task: 1}) for task in whole},
        tokens_per_s=plan.n_tokens / max(scoring_s, 1e-9),
    )


def _remembered(results: ResultsFolder, plan: Plan, measured: _Pace | None) -> _Pace | None:
    """Keep what was measured now; else return what an earlier test of the same plan measured."""
    path = results.quick_path(plan.plan_id)
    if measured is not None:
        write_json(path, asdict(measured))
        return measured
    known = read_json(path) if is_intact(path) else {}
    return _Pace(**known) if known.keys() == {field.name for field in fields(_Pace)} else None


def _doc_counts(results: ResultsFolder, plan: Plan) -> dict[str, tuple[int, int]] | None:
    """Return (docs scored, docs in the data) by task, as its source counted them; None before any metrics."""
    path = results.lm_eval_tables_path(plan.plan_id)
    if not is_intact(path):
        return None
    counts = read_json(path).get("n-samples", {})
    of_lm_eval = {name: (count["effective"], count["original"]) for name, count in counts.items()}
    described = plan.settings["tasks"]
    return {
        task.name: (task.n_docs, described[task.name].get("n_docs_in_data", task.n_docs))
        for task in plan.tasks
    } | of_lm_eval
