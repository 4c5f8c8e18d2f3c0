"""A quick test of a job: three checkpoints and 100 docs of each task, and how long all of it would take.

The estimate is measured: what of a checkpoint's time grows with the docs (scoring, figures) and what does not
(reading weights) are taken from the checkpoints after the first, which also warms up.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from milepost.plan.plan import Plan
from milepost.run.config import EvalConfig
from milepost.run.outcome import Outcome
from milepost.run.progress import Progress
from milepost.store import ResultsFolder
from milepost.store.atomic_files import is_intact, read_json, write_json
from milepost.types import Checkpoint, Series

QUICK_DOCS = 100


@dataclass(frozen=True, slots=True)
class FullJob:
    """What a quick test says of the whole."""

    n_checkpoints: int
    n_docs: int
    """Of each checkpoint, over all tasks."""
    seconds: float
    tokens_per_s: float
    command: str
    """How to ask for it."""


@dataclass(frozen=True, slots=True)
class _Pace:
    """How long a checkpoint of the quick test took, in seconds."""

    before_s: float
    """Preparation, once: libraries, data, prompts, tokens."""
    fixed_s: float
    scoring_s: float
    n_tokens: int


def first_middle_last(series: Series) -> Series:
    """The series with at most three of its usable checkpoints, or as it is where none can be used."""
    usable = [checkpoint for checkpoint in series.checkpoints if checkpoint.problem is None]
    if not usable:
        return series
    chosen = dict.fromkeys((0, (len(usable) - 1) // 2, len(usable) - 1))
    return replace(series, checkpoints=tuple(usable[i] for i in chosen))


class Stopwatch:
    """A `Progress` that passes everything on and keeps how long each checkpoint took."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._began = self._this = time.monotonic()
        self._at: Checkpoint | None = None
        self._tokens = 0
        self.laps: dict[Checkpoint, tuple[float, int]] = {}
        """Seconds until it had its scores, and tokens scored by this process, of each checkpoint that it
        scored something of."""

    def start(self, checkpoint: Checkpoint, tokens: int) -> None:
        self._at, self._this, self._tokens = checkpoint, time.monotonic(), 0
        self._shown.start(checkpoint, tokens)

    def advance(self, tokens: int) -> None:
        self._tokens += tokens
        self._shown.advance(tokens)

    def leave(self) -> None:
        if self._at is not None and self._tokens:
            self.laps[self._at] = time.monotonic() - self._this, self._tokens
        self._at = None
        self._shown.leave()

    def finish(self, checkpoint: Checkpoint, what: str) -> None:
        if self._at == checkpoint:
            self.leave()
        self._shown.finish(checkpoint, what)


def whole_job(
    settings: EvalConfig,
    outcome: Outcome,
    plans: Sequence[Plan],
    watch: Stopwatch,
    before_s: float,
    n_checkpoints: Mapping[str, int],
) -> FullJob | None:
    """How long it takes without `--quick`; None where no speed is known, now or from an earlier test.

    Args:
        plans: the plan of each checkpoint that was asked.
        before_s: seconds that the preparation took.
        n_checkpoints: how many there are to ask, by series.
    """
    plan = plans[0]  # series with another tokenizer have the same docs, and tokens much the same
    measured = _remembered(outcome.results, plan, _pace(watch, outcome, before_s))
    sizes = _doc_counts(outcome.results, plan)
    if measured is None or sizes is None:
        return None
    n_tokens = 0.0
    for task in plan.tasks:
        asked, there_are = sizes[task.name]
        n_tokens += task.n_tokens * there_are / asked
    tokens_per_s = measured.n_tokens / max(measured.scoring_s, 1e-9)
    n_all = sum(n_checkpoints.values())
    full = replace(settings, quick=False, tasks=replace(settings.tasks, limit=None))
    return FullJob(
        n_checkpoints=n_all,
        n_docs=sum(sizes[task.name][1] for task in plan.tasks),
        seconds=measured.before_s + n_all * (measured.fixed_s + n_tokens / tokens_per_s),
        tokens_per_s=tokens_per_s,
        command=full.command_line(),
    )


def usable(series: Sequence[Series]) -> dict[str, int]:
    """How many checkpoints of each series can be asked, by its name."""
    return {one.name: sum(c.problem is None for c in one.checkpoints) for one in series}


def _pace(watch: Stopwatch, outcome: Outcome, before_s: float) -> _Pace | None:
    """The middle of what was measured; None where nothing was scored."""
    laps = [(s, outcome.scoring_s[c], n) for c, (s, n) in watch.laps.items() if c in outcome.scoring_s]
    # Metrics are computed beside the scoring of the next checkpoint: they only count where they take longer.
    metrics_s = [outcome.metrics_s[c] for c in watch.laps if c in outcome.metrics_s]
    if not laps:
        return None
    warm = laps[1:] or laps
    return _Pace(
        before_s=before_s,
        fixed_s=statistics.median(max(0.0, whole - scoring) for whole, scoring, _ in warm),
        scoring_s=max(
            statistics.median(scoring for _, scoring, _ in warm), statistics.median(metrics_s or [0.0])
        ),
        n_tokens=round(statistics.median(n for _, _, n in warm)),
    )


def _remembered(results: ResultsFolder, plan: Plan, measured: _Pace | None) -> _Pace | None:
    """What was measured now, kept for later; or what an earlier test of the same questions measured."""
    path = results.path / "store" / "quick" / f"{plan.plan_id}.json"
    if measured is not None:
        write_json(path, asdict(measured))
        return measured
    return _Pace(**read_json(path)) if is_intact(path) else None


def _doc_counts(results: ResultsFolder, plan: Plan) -> dict[str, tuple[int, int]] | None:
    """(docs asked, docs there are) by task, as lm_eval counted them; None before there are figures."""
    path = results.lm_eval_tables_path(plan.plan_id)
    if not is_intact(path):
        return None
    counts = read_json(path)["n-samples"]
    return {name: (count["effective"], count["original"]) for name, count in counts.items()}
