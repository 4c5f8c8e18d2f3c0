"""What the GPU path needs of its device: which compiler, how much memory, copies that nobody waits for.

The path can be taken on a CPU as well, for tests: where the environment variable EMULATE names a backend of
torch.compile (`eager`, `aot_eager`, `inductor`), tensors of the CPU count as a GPU's. Everything is then
computed by the same code but for what this file says differs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from milepost.engine.budget import free_bytes
from milepost.engine.kernel_options import Card

if TYPE_CHECKING:
    import numpy.typing as npt

EMULATE = "MILEPOST_EMULATED_GPU"
MAX_TOKENS = 32_768
"""More makes no matrix product faster: at 500M parameters each is at its peak from 8,192 rows on."""
EMULATED_MAX_TOKENS = 2048
EMULATED_CARD = Card.named((9, 0))
"""What a CPU stands in for: an H100."""


class Fetch:
    """Tensors on their way to the CPU."""

    def __init__(self, accelerator: Accelerator, tensors: tuple[torch.Tensor, ...]) -> None:
        self._accelerator = accelerator
        self._copies = [accelerator.copy_to_cpu(tensor) for tensor in tensors]
        self._event = accelerator.record_event()

    @property
    def has_come(self) -> bool:
        """Whether `arrays` would not wait."""
        return self._event is None or bool(self._event.query())

    def arrays(self) -> list[npt.NDArray[Any]]:
        """The tensors' values, once the device has got that far."""
        self._accelerator.waits += 1
        if self._event is not None:
            self._event.synchronize()
        return [copy.numpy() for copy in self._copies]


class Recorded(NamedTuple):
    """Work that can be done again."""

    replay: Callable[[], torch.Tensor]
    """Does it, and returns its result: the same tensor each time."""


class Accelerator:
    """A CUDA device (or a CPU that stands in for one)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.backend = "inductor" if device.type == "cuda" else os.environ[EMULATE]
        """For torch.compile."""
        self._graph_pool: Any = None
        self.waits = 0
        """How often the host has waited for the device, or would have on a real one."""

    @property
    def is_real(self) -> bool:
        return self.device.type == "cuda"

    @property
    def card(self) -> Card:
        """What decides which kernels run on it."""
        return Card.of(self.device) if self.is_real else EMULATED_CARD

    @property
    def max_tokens(self) -> int:
        """Tokens of a pack beyond which nothing is gained; a stand-in computes every pair of them."""
        return MAX_TOKENS if self.is_real else EMULATED_MAX_TOKENS

    def free_bytes(self) -> int:
        """What can be had: what the card has free, and what torch keeps of this process's own."""
        if not self.is_real:
            return free_bytes(self.device)
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return free + kept

    def upload(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """The array on the device; the host goes on while it is copied."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.is_real else tensor

    def fetch(self, *tensors: torch.Tensor) -> Fetch:
        """The tensors' values on the CPU, to be waited for later."""
        return Fetch(self, tensors)

    def copy_to_cpu(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy that is there once an event recorded after it has come."""
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self.is_real)
        return copy.copy_(tensor, non_blocking=True)

    def record_event(self, stream: torch.cuda.Stream | None = None) -> torch.cuda.Event | None:
        """An event behind everything that was asked of the device, or of one of its streams, so far."""
        if not self.is_real:
            return None
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device) if stream is None else stream)
        return event

    def side_stream(self) -> torch.cuda.Stream | None:
        """A stream beside the one that computes; None for a stand-in, which does one thing at a time."""
        return torch.cuda.Stream(self.device) if self.is_real else None

    def on(self, stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
        """Within it, work of this thread goes to that stream."""
        return nullcontext() if stream is None else torch.cuda.stream(stream)

    def wait_for(self, event: torch.cuda.Event | None) -> None:
        """Have the stream that computes go on only after an event; the host does not wait."""
        if event is not None:
            torch.cuda.current_stream(self.device).wait_event(event)

    def record(self, work: Callable[[], torch.Tensor]) -> Recorded:
        """Record work as a CUDA graph, without doing it.

        Raises:
            RuntimeError: something in it cannot be recorded (it waits for the device, say).
        """
        if not self.is_real:
            result = work()
            return Recorded(lambda: result.copy_(work()))
        graph = torch.cuda.CUDAGraph()
        self._graph_pool = self._graph_pool or torch.cuda.graph_pool_handle()
        # Other threads, which bring the next checkpoint's weights, go on while this one records.
        with torch.cuda.graph(graph, pool=self._graph_pool, capture_error_mode="thread_local"):
            result = work()

        def replay() -> torch.Tensor:
            graph.replay()
            return result

        return Recorded(replay)

    def free_unused(self) -> None:
        """Give cached memory back, so that it can be had in other sizes."""
        if self.is_real:
            torch.cuda.empty_cache()


def accelerator_of(device: torch.device) -> Accelerator | None:
    """The accelerator that a device is; None for one that the GPU path is not for."""
    if device.type == "cuda" or (device.type == "cpu" and os.environ.get(EMULATE)):
        return Accelerator(device)
    return None
