"""What a long run will take: disk before it begins, time once its first shards have shown the speed."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from milepost.byte_sizes import format_bytes
from milepost.plan.plan import Plan
from milepost.run.config import EvalConfig
from milepost.run.progress import Progress
from milepost.run.series import PreparedSeries
from milepost.run.target import Target
from milepost.run.timing import format_duration
from milepost.store import ResultsFolder
from milepost.store.atomic_files import is_intact, read_json
from milepost.types import Checkpoint

LONG_TOKENS = 2_000_000
"""Below so many tokens in all nothing is said beforehand."""
LONG_S = 60.0
"""Below so much time left nothing is said later either."""
MEASURED_S = 5.0
"""So much work is needed before a speed says something: the first shards warm up."""

BYTES_PER_REQUEST = 10
"""9.5 measured: a log-likelihood of 8 bytes hardly compresses."""
BYTES_PER_DOC = 40
"""Measured with four choices: their filtered answers as JSON, two metrics."""
BYTES_PER_FILE = 2048


def disk_needed(plan: Plan, n_checkpoints: int) -> int:
    """Bytes of records, without lm_eval's sample files; right within a factor of two or so."""
    each = sum(
        BYTES_PER_REQUEST * task.encoded.n_requests
        + BYTES_PER_DOC * task.n_docs
        + BYTES_PER_FILE * (len(task.shards) + 1)
        for task in plan.tasks
    )
    return each * n_checkpoints


@dataclass(frozen=True, slots=True)
class Expected:
    """What one checkpoint will take, judged by which model its name stood for at its last visit."""

    plan: Plan
    n_tokens: int
    """Of the shards that are not stored yet."""
    is_done: bool
    """Whether its figures are there as well."""


def expect(
    folder: Path, series: PreparedSeries, checkpoint: Checkpoint, plan: Plan, settings: EvalConfig
) -> Expected:
    """Without looking at the weights, so it is an estimate: they may have been overwritten since."""
    results = ResultsFolder(folder)
    path = results.checkpoint_path(series.name, checkpoint.name)
    model_id = read_json(path).get("model_id") if is_intact(path) else None
    if model_id is None:
        return Expected(plan, plan.n_tokens, False)
    target = Target(results, plan, model_id, series.dtype_of(checkpoint, settings.asked_dtype))
    missing = target.missing_shards()
    n_tokens = sum(task.tokens_of(shard.first, shard.last) for task, shard in missing)
    has_metrics = settings.leaves_metrics or target.has_metrics()
    return Expected(plan, n_tokens, not missing and has_metrics)


def announce(work: Iterable[Expected], folder: Path) -> None:
    """Say on stderr what is ahead, if it is much or the disk is too small for it."""
    left = [one for one in work if not one.is_done]
    needed = sum(disk_needed(one.plan, 1) for one in left)
    free = shutil.disk_usage(folder).free
    n_tokens = sum(one.n_tokens for one in left)
    if needed > free:
        _say(
            f"warning: the results may need {format_bytes(needed)},"
            f" and {folder} has {format_bytes(free)} free"
        )
    elif n_tokens >= LONG_TOKENS:
        _say(
            f"{len(left)} checkpoints, at most {n_tokens / 1e6:,.1f} million tokens in all;"
            f" results about {format_bytes(needed)}, {format_bytes(free)} free"
        )


class Estimating:
    """A `Progress` that passes everything on and says, once it can be told, how long the rest will take."""

    def __init__(
        self, shown: Progress, n_tokens: Mapping[Checkpoint, int], *, compiles: bool = False
    ) -> None:
        """`compiles` is whether the first shard takes longer than others, as on a GPU: it is not measured."""
        self._shown = shown
        self._compiles = compiles
        self._expected = n_tokens
        self._left = sum(n_tokens.values())
        self._at: Checkpoint | None = None
        self._of_this = 0
        self._measured = 0
        self._began = 0.0
        self._said = False

    def start(self, checkpoint: Checkpoint, tokens: int) -> None:
        self._at, self._of_this = checkpoint, min(tokens, self._expected[checkpoint])
        if not self._measured:
            self._began = time.monotonic()
        self._shown.start(checkpoint, self._of_this)

    def advance(self, tokens: int) -> None:
        self._of_this -= tokens
        self._left -= tokens
        if self._compiles:
            self._compiles, self._began = False, time.monotonic()
            self._shown.advance(tokens)
            return
        self._measured += tokens
        elapsed = time.monotonic() - self._began
        if not self._said and elapsed >= MEASURED_S:
            self._said = True
            speed = self._measured / elapsed
            if self._left / speed >= LONG_S:
                _say(
                    f"{speed:,.0f} tokens/s: about {format_duration(self._left / speed)}"
                    " for what is not scored yet"
                )
        self._shown.advance(tokens)

    def leave(self) -> None:
        self._left -= self._of_this
        self._at, self._of_this = None, 0
        self._shown.leave()

    def finish(self, checkpoint: Checkpoint, what: str) -> None:
        if self._at == checkpoint:
            self.leave()
        self._shown.finish(checkpoint, what)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
