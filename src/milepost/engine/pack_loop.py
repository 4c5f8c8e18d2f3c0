"""The loop over packs on a GPU: one pack computes, the next is uploaded, what the one before found is read.

The host waits for one number a pack, whether all of its hidden states are numbers, and reads it when the next
pack is already under way. Where one is not, the pack is run again in the careful way, and what came after it
too. What a shard's targets got stays on the device until all are known, and is copied while packs run.

Nothing is lost by a failure: the stream goes back to the pack that failed.
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
    from milepost.engine.attention_gpu import Context, Output
    from milepost.engine.gpu_packs import StagedPack
    from milepost.engine.gpu_path import GpuPath
    from milepost.plan.joined_shards import JoinedPack
    from milepost.types import Scores, Sequences

    Ints = npt.NDArray[np.int64]

MAX_UNDER_WAY = 2
"""Packs that the device has been given and whose soundness nobody has read."""


@dataclass(frozen=True, slots=True)
class _Launched:
    pack: JoinedPack
    staged: StagedPack
    above: Context | None
    output: Output
    is_sound: Fetch | None
    """None where nobody needs to ask."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Results on their way to the host."""

    fetch: Fetch
    shard: Ints
    sequence: Ints
    finished: list[int]
    """The shards that have all of theirs with these."""


@dataclass(slots=True)
class _Shard:
    """What is known of a shard so far."""

    n_left: int
    """Nodes that no finished pack has computed."""
    parts: list[tuple[Ints, npt.NDArray[np.float32], npt.NDArray[np.bool_]]] = field(default_factory=list)
    """Sequence, log-probability and greedy flag of targets."""


class PackLoop:
    """Scores one stream of shards."""

    def __init__(
        self, path: GpuPath, shards: Iterator[Sequences], *, every_row: bool, max_tokens: int | None
    ) -> None:
        """`max_tokens` cuts packs smaller than the runner's size, for a trial of several."""
        self._path = path
        self._most_tokens = max_tokens
        self._stream = ShardStream(shards, path.layouts.tree_of, every_row=every_row)
        self._ahead: tuple[JoinedPack, StagedPack] | None = None
        self._is_exhausted = False
        """Whether the stream has no pack after the last one taken."""
        self._context: Context | None = None
        self._under_way: deque[_Launched] = deque()
        self._waiting: list[tuple[Targets, JoinedPack]] = []
        self._finished: list[int] = []
        """Shards whose last targets are among `_waiting`."""
        self._found: deque[_Found] = deque()
        self._shards: dict[int, _Shard] = {}
        self._ready: dict[int, Scores] = {}
        self._next_shard = 0

    def scores(self) -> Iterator[Scores]:
        """Each shard's scores in order.

        Raises:
            FlexUnavailableError: FlexAttention cannot run; `unfinished` has what is not scored.
        """
        while True:
            lost: FlexUnavailableError | None = None
            try:
                with torch.inference_mode(), self._path.in_place():
                    is_done = self._advance()
            except FlexUnavailableError as error:
                lost = error
            while self._next_shard in self._ready:
                self._next_shard += 1
                yield self._ready.pop(self._next_shard - 1)
            if lost is not None:
                raise lost
            if is_done:
                return

    def unfinished(self) -> Iterator[Sequences]:
        """The shards that were not yielded."""
        return self._stream.unfinished()

    def _advance(self) -> bool:
        """Go on until the next shard is ready, or another runner has to take over; whether all is done."""
        settings = self._path.settings
        while self._next_shard not in self._ready and self._path.settings is settings:
            self._upload_next()
            if self._ahead is not None:
                self._launch(*self._ahead)
                self._upload_next()
            while self._under_way and len(self._under_way) >= (1 if self._ahead is None else MAX_UNDER_WAY):
                self._settle()
            while self._found and (self._found[0].fetch.has_come or self._is_drained):
                self._collect()
            if self._is_drained and not self._found:
                return True
        return False

    @property
    def _is_drained(self) -> bool:
        return self._is_exhausted and self._ahead is None and not self._under_way

    def _upload_next(self) -> None:
        """Have the next pack on the device, unless one is or a new way is to be taken first."""
        if self._ahead is not None:
            return
        settings = self._path.settings
        pack = self._stream.next_pack(min(settings.n_tokens, self._most_tokens or settings.n_tokens))
        self._is_exhausted = pack is None
        if pack is None:
            return
        try:
            self._ahead = pack, self._path.stage(pack)
        except Exception as error:
            failure = error.with_traceback(None)
        else:
            return
        self._give_way(failure, pack, self._context)

    def _launch(self, pack: JoinedPack, staged: StagedPack) -> None:
        above = self._context
        try:
            output = self._path.runner.run(staged, above)
            is_sound = self._path.accelerator.fetch(output.is_sound)
        except Exception as error:
            # Without the traceback, which holds what the failed pass had in memory.
            failure = error.with_traceback(None)
        else:
            self._ahead, self._context = None, output.below
            self._under_way.append(_Launched(pack, staged, above, output, is_sound))
            return
        self._give_way(failure, pack, above)

    def _give_way(self, failure: Exception, pack: JoinedPack, above: Context | None) -> None:
        """After a failure: finish what is under way, go back to the pack that failed, take another way."""
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
        """Read whether the first pack under way is sound, run it again if not, and hand its rows on."""
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
            # What was launched after it had its context from the first run.
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
        targets, packs = join_targets([one for one, _ in self._waiting]), [one for _, one in self._waiting]
        found = score_targets(self._path.model, targets, self._path.vocab_size)
        self._found.append(
            _Found(
                fetch=self._path.accelerator.fetch(*found),
                shard=np.concatenate([pack.shard for pack in packs]),
                sequence=np.concatenate([pack.sequence for pack in packs]),
                finished=self._finished,
            )
        )
        self._waiting, self._finished = [], []

    def _collect(self) -> None:
        """Read results that have come, and add up the shards that are complete with them."""
        found = self._found.popleft()
        logprob, greedy = found.fetch.arrays()
        for number in np.unique(found.shard).tolist():
            own = found.shard == number
            self._shards[number].parts.append((found.sequence[own], logprob[own], greedy[own]))
        for number in found.finished:
            self._ready[number] = self._sum(self._shards.pop(number), self._stream.n_sequences(number))
            self._stream.close(number)

    @staticmethod
    def _sum(shard: _Shard, n_sequences: int) -> Scores:
        none: tuple[Any, ...] = (np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.bool_))
        parts = zip(none, *shard.parts, strict=True)
        sequence, logprob, greedy = (np.concatenate(part) for part in parts)
        return sum_targets(n_sequences, sequence, logprob, greedy)
