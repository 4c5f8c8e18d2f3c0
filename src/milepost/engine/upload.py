"""Uploads weights to the device on a separate stream while another stream computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from milepost.engine.memory import is_out_of_memory

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator


class Upload:
    """Tensors being copied to the device and cast there."""

    def __init__(
        self,
        accelerator: Accelerator,
        stream: torch.cuda.Stream | None,
        tensors: Mapping[str, tuple[torch.Tensor, torch.dtype]],
    ) -> None:
        """Start the copies; the host does not wait if the tensors are in pinned memory.

        Args:
            stream: a stream for uploads only; None if emulated.
            tensors: by name, a tensor and its dtype on the device. The tensors must stay in memory until the
                upload is complete (`drop`, or after `tensors` were used).

        Raises:
            RuntimeError: the device has too little memory; nothing of the upload is left.
        """
        self._accelerator = accelerator
        self.tensors: dict[str, torch.Tensor] = {}
        """The tensors on the device; must not be read before `join`."""
        try:
            with torch.no_grad(), accelerator.on(stream):
                for name, (tensor, dtype) in tensors.items():
                    copy = tensor.to(accelerator.device, non_blocking=True, copy=True)
                    # The copy in the file's dtype is freed at once, for the stream's next tensor.
                    self.tensors[name] = copy.to(dtype)
        finally:
            self._event = accelerator.record_event(stream)
            if len(self.tensors) < len(tensors):
                self.drop()

    def join(self) -> None:
        """Let the computing stream wait for the copies; the host does not wait."""
        self._accelerator.wait_for(self._event)

    def drop(self) -> None:
        """Wait for the copies, then release the device's memory."""
        if self._event is not None:
            self._event.synchronize()
        self.tensors.clear()


def upload_if_it_fits(
    accelerator: Accelerator,
    stream: torch.cuda.Stream | None,
    tensors: Mapping[str, tuple[torch.Tensor, torch.dtype]],
    room: int,
) -> Upload | None:
    """Start an upload; return None if it needs more than `room` bytes or the device has too little memory."""
    largest = max((tensor.nbytes for tensor, _ in tensors.values()), default=0)
    if not tensors or largest + sum(t.numel() * dtype.itemsize for t, dtype in tensors.values()) > room:
        return None
    try:
        return Upload(accelerator, stream, tensors)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    accelerator.free_unused()
    return None
