"""Read the first checkpoint's weights while the plan is made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.errors import MilepostError
from milepost.files.cache import cache_folder
from milepost.run.config import EvalConfig
from milepost.run.device import resolve_device
from milepost.run.series.prepared_series import PreparedSeries
from milepost.sources import identify
from milepost.sources.formats import SAFETENSORS
from milepost.store import ResultsFolder, file_state
from milepost.types.checkpoints import Checkpoint

if TYPE_CHECKING:
    from milepost.weights import HeldFiles


class FirstWeights:
    """Reads and hashes a checkpoint's files in the background, from its construction on."""

    def __init__(self, checkpoint: Checkpoint, results: ResultsFolder, held: HeldFiles) -> None:
        self._checkpoint = checkpoint
        self._results = results
        self._held: HeldFiles | None = held
        self._thread = threading.Thread(
            target=self._read, args=(held,), name="milepost-first-weights", daemon=True
        )
        self._thread.start()

    def of(self, checkpoint: Checkpoint) -> HeldFiles | None:
        """Wait for the files and return them; None for another checkpoint, and from the second call on."""
        if checkpoint.source != self._checkpoint.source or self._held is None:
            return None
        self._thread.join()
        held, self._held = self._held, None
        return held

    def _read(self, held: HeldFiles) -> None:
        """Read the files whose hash is not known, and all if no score of this model is stored."""
        folder = self._checkpoint.location
        assert isinstance(folder, Path)
        try:
            identity = identify(self._checkpoint, cache_folder(), held.sha256)
            if not file_state.folder_exists(self._results.scores_folder(identity.model_id)):
                for file in identity.files:
                    held.sha256(folder / file.name)
        except MilepostError:
            return  # the error is raised again when its turn comes


def read_first(series: Sequence[PreparedSeries], config: EvalConfig) -> FirstWeights | None:
    """Begin to read the first checkpoint; None where its weights are not needed or cannot be read early.

    Torch must be imported: two threads that import it at once can get in each other's way.
    """
    from milepost.weights import HeldFiles

    first = next((checkpoint for prepared in series for checkpoint in prepared.checkpoints), None)
    if first is None or config.engine == "openai" or first.base is not None:
        return None
    if first.format != SAFETENSORS.name or not isinstance(first.location, Path):
        return None
    results = ResultsFolder(config.output_path)
    if file_state.exists(results.checkpoint_path(first.series, first.name)):
        return None  # it was visited before: what is left of it depends on the plan
    return FirstWeights(first, results, HeldFiles(pinned=resolve_device(config.device).startswith("cuda")))
