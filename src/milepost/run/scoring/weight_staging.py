"""Copy the next checkpoint's weights to the GPU while the present one is scored."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from milepost.engine.gpu_path import GpuPath
    from milepost.engine.upload import Upload
    from milepost.weights import CheckpointWeights, LiveModel


class Staging:
    """Holds the weights of at most one checkpoint on the device, beside those of the live module.

    The thread that reads calls `offer`; all else is for the thread that scores.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offered: CheckpointWeights | None = None
        """Weights that were read and may be copied."""
        self._staged: tuple[CheckpointWeights, Upload] | None = None
        self._stream: torch.cuda.Stream | None = None

    def offer(self, weights: CheckpointWeights) -> None:
        """Announce the weights that come next; an adapter's do not fit a module."""
        with self._lock:
            self._offered = weights if weights.adapter is None else None

    def stage(self, model: LiveModel, path: GpuPath | None) -> None:
        """Begin between two shards to copy the offered weights, if they fit module and device."""
        if self._staged is not None or path is None or not path.staging_bytes:
            return
        with self._lock:
            weights, self._offered = self._offered, None
        if weights is None or model.accepts(weights) is not None:
            return
        from milepost.engine.upload import upload_if_it_fits

        self._stream = self._stream or path.accelerator.side_stream()
        tensors = model.direct_tensors(weights)
        upload = upload_if_it_fits(path.accelerator, self._stream, tensors, path.staging_bytes)
        if upload is not None:
            self._staged = weights, upload

    def staged(self, weights: CheckpointWeights) -> Mapping[str, torch.Tensor] | None:
        """Return these weights on the device, by the module's names; None where they were not copied."""
        if self._staged is None or self._staged[0] is not weights:
            return None
        self._staged[1].join()
        return self._staged[1].tensors

    def forget(self, weights: CheckpointWeights) -> None:
        """Free the copy of weights that are in place, or never will be."""
        with self._lock:
            if self._offered is weights:
                self._offered = None
        if self._staged is not None and self._staged[0] is weights:
            self._staged[1].drop()
            self._staged = None
