"""Weights copied to the device on a stream of their own, while another stream computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from milepost.engine.memory import is_out_of_memory

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator


class Upload:
    """Tensors on their way to the device, where they are cast; one copy of them in all."""

    def __init__(
        self,
        accelerator: Accelerator,
        stream: torch.cuda.Stream | None,
        tensors: Mapping[str, tuple[torch.Tensor, torch.dtype]],
    ) -> None:
        """Begin to copy; nobody waits if the tensors lie in pinned memory.

        Args:
            stream: one that does nothing but uploads; None for a stand-in.
            tensors: what is to be copied, and the dtype that it is to have there. They must stay in memory
                until the upload has been waited for (`drop`, or whoever used `tensors`).

        Raises:
            RuntimeError: there is no memory; nothing is left of the upload.
        """
        self._accelerator = accelerator
        self.tensors: dict[str, torch.Tensor] = {}
        """Not to be read before `join`."""
        try:
            with torch.no_grad(), accelerator.on(stream):
                for name, (tensor, dtype) in tensors.items():
                    there = tensor.to(accelerator.device, non_blocking=True, copy=True)
                    # In the file's dtype it lives no longer than this; its memory is the stream's again.
                    self.tensors[name] = there.to(dtype)
        finally:
            self._event = accelerator.record_event(stream)
            if len(self.tensors) < len(tensors):
                self.drop()

    def join(self) -> None:
        """Have the computing stream wait for the copies; the host does not."""
        self._accelerator.wait_for(self._event)

    def drop(self) -> None:
        """Give the device's memory back, once no copy is under way to it."""
        if self._event is not None:
            self._event.synchronize()
        self.tensors.clear()


def upload_if_it_fits(
    accelerator: Accelerator,
    stream: torch.cuda.Stream | None,
    tensors: Mapping[str, tuple[torch.Tensor, torch.dtype]],
    room: int,
) -> Upload | None:
    """The upload begun; None where it needs more than `room` bytes, or the device has not that much."""
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
