"""The loop over packs on a GPU: one pack runs, the next is uploaded, the results of the last are read.

The host waits for one flag per pack, whether all of its hidden states are finite, and reads it when the next
pack is already under way. If they are not, the pack and those after it run again in the careful mode. The
scores of a shard's targets stay on the device until the LM head has run, and are copied while packs run.

A failure loses nothing: the stream goes back to the pack that failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from milepost.engine.flex_variants import FlexUnavailableError
from milepost.engine.lm_head_gpu import ROWS_PER_BLOCK, Targets, join_targets, score_targets
from milepost.engine.model_inputs import sum_targets
from milepost.plan.joined_shards import ShardStream

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.engine.accelerator import Fetch
    from milepost.engine.gpu_packs import StagedPack
    from milepost.engine.gpu_path import GpuPath
    from milepost.engine.gpu_values import Context, Output
    from milepost.plan.joined_shards import JoinedPack
    from milepost.types.sequences import Scores, Sequences

    Ints = npt.NDArray[np.int64]

MAX_UNDER_WAY = 2
"""Packs that were launched and whose flag was not read yet."""


@dataclass(frozen=True, slots=True)
class _Launched:
    pack: JoinedPack
    staged: StagedPack
    above: Context | None
    output: Output
    is_sound: Fetch | None
    """The flag on its way to the host; None if no check is needed."""


@dataclass(frozen=True, slots=True)
class _PendingScores:
    """Scores on their way to the host."""

    fetch: Fetch
    shard: Ints
    sequence: Ints
    finished: list[int]
    """The shards that are complete with these scores."""


@dataclass(slots=True)
class _Shard:
    """The results of a shard so far."""

    n_left: int
    """Nodes that no pack has computed yet."""
    parts: list[tuple[Ints, npt.NDArray[np.float32], npt.NDArray[np.bool_]]] = field(default_factory=list)
    """Sequence, log-probability and greedy flag of targets."""


class PackLoop:
    """Scores one stream of shards."""

    def __init__(
        self, path: GpuPath, shards: Iterator[Sequences], *, longest: int, max_tokens: int | None = None
    ) -> None:
        """Prepare the path.

        Args:
            longest: tokens of the shards' longest sequence.
            max_tokens: makes packs smaller than the runner's size, so that a trial has several.
        """
        path.prepare(longest)
        self._path = path
        self._max_tokens = max_tokens
        self._stream = ShardStream(shards, path.trees.tree_of, every_row=path.computes_every_row)
        self._ahead: tuple[JoinedPack, StagedPack] | None = None
        self._is_exhausted = False
        """True if the stream has no pack after the last one that was taken."""
        self._context: Context | None = None
        self._under_way: deque[_Launched] = deque()
        self._waiting: list[tuple[Targets, JoinedPack]] = []
        self._finished: list[int] = []
        """Shards whose last targets are in `_waiting`."""
        self._pending: deque[_PendingScores] = deque()
        self._shards: dict[int, _Shard] = {}
        self._ready: dict[int, Scores] = {}
        self._next_shard = 0

    def scores(self) -> Iterator[Scores]:
        """Yield each shard's scores in order.

        Raises:
            FlexUnavailableError: FlexAttention cannot run; `unfinished` has what is not scored.
        """
        while True:
            failure: FlexUnavailableError | None = None
            try:
                with torch.inference_mode(), self._path.in_place():
                    is_done = self._advance()
            except FlexUnavailableError as error:
                failure = error
            while self._next_shard in self._ready:
                self._next_shard += 1
                yield self._ready.pop(self._next_shard - 1)
            if failure is not None:
                raise failure
            if is_done:
                return

    def unfinished(self) -> Iterator[Sequences]:
        """Yield the shards whose scores were not yielded."""
        return self._stream.unfinished()

    def _advance(self) -> bool:
        """Run until the next shard is ready or the settings change; return whether all shards are done."""
        settings = self._path.settings
        while self._next_shard not in self._ready and self._path.settings is settings:
            self._upload_next()
            if self._ahead is not None:
                self._launch(*self._ahead)
                self._upload_next()
            while self._under_way and len(self._under_way) >= (1 if self._ahead is None else MAX_UNDER_WAY):
                self._settle()
            while self._pending and (self._pending[0].fetch.has_come or self._is_drained):
                self._collect()
            if self._is_drained and not self._pending:
                return True
        return False

    @property
    def _is_drained(self) -> bool:
        return self._is_exhausted and self._ahead is None and not self._under_way

    def _upload_next(self) -> None:
        """Upload the next pack, unless one is uploaded already."""
        if self._ahead is not None:
            return
        settings = self._path.settings
        pack = self._stream.next_pack(min(settings.n_tokens, self._max_tokens or settings.n_tokens))
        self._is_exhausted = pack is None
        if pack is None:
            return
        try:
            self._ahead = pack, self._path.stage(pack)
        except Exception as error:
            failure = error.with_traceback(None)
        else:
            return
        self._handle_failure(failure, pack, self._context)

    def _launch(self, pack: JoinedPack, staged: StagedPack) -> None:
        above = self._context
        try:
            output = self._path.runner.run(staged, above)
            is_sound = self._path.accelerator.fetch(output.is_sound)
        except Exception as error:
            # Without the traceback, which holds the memory of the failed pass.
            failure = error.with_traceback(None)
        else:
            self._ahead, self._context = None, output.below
            self._under_way.append(_Launched(pack, staged, above, output, is_sound))
            return
        self._handle_failure(failure, pack, above)

    def _handle_failure(self, failure: Exception, pack: JoinedPack, above: Context | None) -> None:
        """Finish the packs under way, go back to the pack that failed and take slower settings."""
        settings = self._path.settings
        while self._under_way and self._path.settings is settings:
            self._settle()
        if self._path.settings is settings:
            self._go_back(pack, above)
            self._path.step_down(failure)

    def _go_back(self, pack: JoinedPack, above: Context | None) -> None:
        self._stream.go_back(pack)
        self._is_exhausted = False
        self._ahead, self._context = None, above
        self._under_way.clear()

    def _settle(self) -> None:
        """Read whether the first pack under way is sound, run it again if not, and take its rows."""
        first = self._under_way.popleft()
        output = first.output
        if first.is_sound is not None and not first.is_sound.arrays()[0].all():
            self._path.counts.redone += 1
            try:
                output = self._path.runner.run(first.staged, first.above, careful=True)
            except Exception as error:
                failure = error.with_traceback(None)
                self._go_back(first.pack, first.above)
                self._path.step_down(failure)
                return
            # Packs launched after it read the context of its first run.
            if self._under_way:
                self._go_back(self._under_way[0].pack, output.below)
            elif self._ahead is not None:
                self._go_back(self._ahead[0], output.below)
            else:
                self._context = output.below
        self._take(first.pack, first.staged, output)

    def _take(self, pack: JoinedPack, staged: StagedPack, output: Output) -> None:
        self._path.counts.packs += 1
        self._path.counts.tokens += len(pack)
        self._path.counts.slots += self._path.settings.n_tokens
        targets = Targets(output.hidden_MD, pack.target_row, staged.target_row_J, staged.target_J)
        self._waiting.append((targets, pack))
        for piece in pack.pieces:
            shard = self._shards.setdefault(piece.shard, _Shard(self._stream.n_nodes(piece.shard)))
            shard.n_left -= piece.stop - piece.start
            if shard.n_left == 0:
                self._finished.append(piece.shard)
        n_rows = sum(len(waiting.hidden_RD) for waiting, _ in self._waiting)
        if self._finished or n_rows >= ROWS_PER_BLOCK:
            self._run_head()

    def _run_head(self) -> None:
        targets = join_targets([targets for targets, _ in self._waiting])
        packs = [pack for _, pack in self._waiting]
        scores = score_targets(self._path.model, targets, self._path.vocab_size)
        self._pending.append(
            _PendingScores(
                fetch=self._path.accelerator.fetch(*scores),
                shard=np.concatenate([pack.shard for pack in packs]),
                sequence=np.concatenate([pack.sequence for pack in packs]),
                finished=self._finished,
            )
        )
        self._waiting, self._finished = [], []

    def _collect(self) -> None:
        """Read scores that have arrived, and add up the shards that are complete with them."""
        scores = self._pending.popleft()
        logprob, greedy = scores.fetch.arrays()
        for number in np.unique(scores.shard).tolist():
            own = scores.shard == number
            self._shards[number].parts.append((scores.sequence[own], logprob[own], greedy[own]))
        for number in scores.finished:
            self._ready[number] = self._sum(self._shards.pop(number), self._stream.n_sequences(number))
            self._stream.close(number)

    @staticmethod
    def _sum(shard: _Shard, n_sequences: int) -> Scores:
        empty: tuple[Any, ...] = (np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.bool_))
        parts = zip(empty, *shard.parts, strict=True)
        sequence, logprob, greedy = (np.concatenate(part) for part in parts)
        return sum_targets(n_sequences, sequence, logprob, greedy)
