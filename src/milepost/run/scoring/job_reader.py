"""Identify a checkpoint and read its weights, in the background while the one before it is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.errors import CheckpointError, MilepostError, SourceError
from milepost.files.cache import cache_folder
from milepost.run.context import ScoringContext
from milepost.run.scoring.jobs import CheckpointJob
from milepost.sources import fetch, identify
from milepost.sources.digests import sha256_now
from milepost.store.leases import Leases
from milepost.text.language import Phrase

if TYPE_CHECKING:
    from milepost.weights import Bases, CheckpointWeights, HeldFiles
    from milepost.weights.adapter import Base


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A job of an identified model, and what is needed to score it."""

    job: CheckpointJob
    weights: CheckpointWeights | None = None
    """None where nothing is left to score, a server has them, or they cannot be read."""
    problem: MilepostError | None = None
    """The reason why the weights cannot be read."""
    is_busy: bool = False
    """True if another process works on the model, so that its weights were not read."""


class JobReader:
    """Reads jobs one after the other."""

    def __init__(self, context: ScoringContext, leases: Leases) -> None:
        self._context = context
        self._leases = leases
        self._first_weights = context.preparation.first_weights
        self._bases: Bases | None = None

    def read(self, job: CheckpointJob, *, share: bool, verify: bool = True) -> ReadJob:
        """Identify the model, and read its weights where scores are missing.

        Args:
            share: read the weights even where another process works on the model.
            verify: see `CheckpointJob.identified`.

        Raises:
            CheckpointError: the checkpoint cannot be identified.
        """
        held = self._files_to_hold(job)
        hash_file = sha256_now if held is None else held.sha256
        identity = identify(job.checkpoint, cache_folder(), hash_file)
        job = job.identified(identity.model_id, verify=verify)
        if not job.missing:
            return ReadJob(job)
        if not share and self._leases.others_at(job.target.unit):
            return ReadJob(job, is_busy=True)
        if self._context.config.engine == "openai":
            return ReadJob(job)
        from milepost.weights import read_checkpoint

        checkpoint = job.checkpoint
        try:
            weights = read_checkpoint(
                fetch(checkpoint, cache_folder(), repair=self._context.config.repair),
                checkpoint.format,
                {file.name: file.sha256 for file in identity.files},
                config_file=checkpoint.config,
                base=self._base_of(job),
                merge=False,
                held=held,
            )
            if identify(checkpoint, cache_folder(), hash_file) != identity:
                raise CheckpointError(
                    Phrase("{source} changed while it was being read", source=checkpoint.source)
                )
        except (CheckpointError, SourceError) as error:
            return ReadJob(job, problem=error)
        return ReadJob(job, weights)

    def _files_to_hold(self, job: CheckpointJob) -> HeldFiles | None:
        """Return where to keep the bytes that are hashed, for reading the weights from them.

        None where the weights are hardly needed: all is scored of the model of the last visit.
        """
        if self._context.config.engine == "openai":
            return None
        if self._first_weights is not None:
            first, self._first_weights = self._first_weights.of(job.checkpoint), None
            if first is not None:
                return first
        if not job.missing:
            return None
        from milepost.weights import HeldFiles

        return HeldFiles(pinned=self._context.device.startswith("cuda"))

    def _base_of(self, job: CheckpointJob) -> Base | None:
        """Return the model that an adapter changes, kept from one checkpoint to the next."""
        from milepost.weights import Bases

        base = job.checkpoint.base
        if base is None:
            return None
        self._bases = self._bases or Bases()
        return self._bases.of(base, cache_folder(), repair=self._context.config.repair)
