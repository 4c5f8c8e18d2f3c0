"""The errors of checkpoints that change while a run is under way."""

from __future__ import annotations

from milepost.errors import CheckpointError
from milepost.text.language import Phrase
from milepost.types.checkpoints import Checkpoint


def changed(checkpoint: Checkpoint) -> CheckpointError:
    """Return the error of a checkpoint that two workers found to be different models."""
    return CheckpointError(
        Phrase("{source} changed while it was being scored", source=checkpoint.source),
        "the same command scores it as it is now",
    )


def scores_removed(checkpoint: Checkpoint) -> CheckpointError:
    """Return the error of a checkpoint whose scores were stored and are gone."""
    return CheckpointError(
        Phrase("{name}: its scores were removed while the run was under way", name=checkpoint.name)
    )
