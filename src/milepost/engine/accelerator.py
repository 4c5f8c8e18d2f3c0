"""The device of the GPU path: its compiler, its memory, and copies without a wait.

For tests the path also runs on a CPU: if the environment variable EMULATE names a backend of torch.compile
(`eager`, `aot_eager`, `inductor`), tensors of the CPU count as a GPU's. The same code then computes
everything but the exceptions in this file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from milepost.engine.budget import MAX_TOKENS, free_bytes
from milepost.engine.kernel_options import Card

if TYPE_CHECKING:
    import numpy.typing as npt

EMULATE = "MILEPOST_EMULATED_GPU"
EMULATED_MAX_TOKENS = 2048
EMULATED_CARD = Card.named((9, 0))
"""The card that a CPU emulates: an H100."""


class Fetch:
    """Tensors on their way to the CPU."""

    def __init__(self, accelerator: Accelerator, tensors: tuple[torch.Tensor, ...]) -> None:
        self._accelerator = accelerator
        self._copies = [accelerator.copy_to_cpu(tensor) for tensor in tensors]
        self._event = accelerator.record_event()

    @property
    def has_come(self) -> bool:
        """True if `arrays` returns without a wait."""
        return self._event is None or bool(self._event.query())

    def arrays(self) -> list[npt.NDArray[Any]]:
        """Wait until the device has copied the tensors, and return their values."""
        self._accelerator.waits += 1
        if self._event is not None:
            self._event.synchronize()
        return [copy.numpy() for copy in self._copies]


class RecordedWork(NamedTuple):
    """Recorded work."""

    replay: Callable[[], torch.Tensor]
    """Repeats the work and returns its result: the same tensor each time."""


class Accelerator:
    """A CUDA device, or a CPU that emulates one."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.backend = "inductor" if device.type == "cuda" else os.environ[EMULATE]
        """For torch.compile."""
        self._graph_pool: Any = None
        self.waits = 0
        """Number of times that the host has waited for the device, or would have waited for a real one."""

    @property
    def is_real(self) -> bool:
        """True if the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def card(self) -> Card:
        """Properties that decide which kernels run."""
        return Card.of(self.device) if self.is_real else EMULATED_CARD

    @property
    def max_tokens(self) -> int:
        """The most tokens of a pack that pay; an emulated GPU computes every pair of them."""
        return MAX_TOKENS["cuda"] if self.is_real else EMULATED_MAX_TOKENS

    def free_bytes(self) -> int:
        """Return the free memory: the card's, and freed memory of this process that torch keeps."""
        if not self.is_real:
            return free_bytes(self.device)
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return free + kept

    def upload(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """Return the array on the device; the host does not wait for the copy."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.is_real else tensor

    def fetch(self, *tensors: torch.Tensor) -> Fetch:
        """Start to copy tensors to the CPU."""
        return Fetch(self, tensors)

    def copy_to_cpu(self, tensor: torch.Tensor) -> torch.Tensor:
        """Start a copy, which is complete when an event recorded after it is."""
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self.is_real)
        return copy.copy_(tensor, non_blocking=True)

    def record_event(self, stream: torch.cuda.Stream | None = None) -> torch.cuda.Event | None:
        """Return an event after all work so far of the device or of one stream; None if emulated."""
        if not self.is_real:
            return None
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device) if stream is None else stream)
        return event

    def side_stream(self) -> torch.cuda.Stream | None:
        """Return a stream beside the computing one; None if emulated."""
        return torch.cuda.Stream(self.device) if self.is_real else None

    def on(self, stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
        """Send the work of this thread to a stream while the context is open."""
        return nullcontext() if stream is None else torch.cuda.stream(stream)

    def wait_for(self, event: torch.cuda.Event | None) -> None:
        """Let the computing stream wait for an event; the host does not wait."""
        if event is not None:
            torch.cuda.current_stream(self.device).wait_event(event)

    def record(self, work: Callable[[], torch.Tensor]) -> RecordedWork:
        """Record work as a CUDA graph without running it.

        Raises:
            RuntimeError: part of it cannot be recorded, such as a wait for the device.
        """
        if not self.is_real:
            result = work()
            return RecordedWork(lambda: result.copy_(work()))
        graph = torch.cuda.CUDAGraph()
        self._graph_pool = self._graph_pool or torch.cuda.graph_pool_handle()
        # Other threads, which upload the next checkpoint's weights, continue during the recording.
        with torch.cuda.graph(graph, pool=self._graph_pool, capture_error_mode="thread_local"):
            result = work()

        def replay() -> torch.Tensor:
            graph.replay()
            return result

        return RecordedWork(replay)

    def free_unused(self) -> None:
        """Release cached memory, so that other sizes can be allocated."""
        if self.is_real:
            torch.cuda.empty_cache()


def accelerator_of(device: torch.device) -> Accelerator | None:
    """Return the accelerator of a device, or None if the GPU path does not support it."""
    if device.type == "cuda" or (device.type == "cpu" and os.environ.get(EMULATE)):
        return Accelerator(device)
    return None
