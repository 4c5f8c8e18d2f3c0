"""A decode step of fixed shapes as a CUDA graph: recorded once, then replayed with a single launch.

If a CPU emulates the GPU (`engine.accelerator`), the step runs anew each time, and operations that CUDA could
not record, those that make the host wait, are refused as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from milepost.engine.accelerator import Accelerator

WAITS_FOR_VALUES = frozenset(
    {"item", "is_nonzero", "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim"}
)
"""Operations whose result or its shape the host must know."""
INDEXES = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
"""Operations that do so if they are given a mask."""


class StepGraph:
    """A recorded step."""

    n_recorded = 0
    """Recordings of this process, for tests."""

    def __init__(
        self, accelerator: Accelerator, step: Callable[[], None], state: list[torch.Tensor], pool: Any = None
    ) -> None:
        """Record a step, which runs once for that, and restore its state.

        Args:
            step: reads and writes the same tensors each time.
            state: the tensors that it changes and that the next step reads.
            pool: the memory of an earlier graph whose results are not needed when this one runs.

        Raises:
            RuntimeError: the step cannot be recorded.
        """
        self._step = step
        self._device = accelerator.device if accelerator.is_real else None
        self._graph: Any = None
        before = [tensor.clone() for tensor in state]
        try:
            self._record(step, pool)
        finally:
            for tensor, old in zip(state, before, strict=True):
                tensor.copy_(old)
        StepGraph.n_recorded += 1

    @property
    def pool(self) -> Any:
        """Memory that a later graph may use."""
        return self._graph.pool() if self._graph is not None else None

    def replay(self) -> None:
        """Run one step."""
        if self._device is not None:
            with torch.cuda.device(self._device):
                self._graph.replay()
        else:
            with _NoWaiting():
                self._step()

    def _record(self, step: Callable[[], None], pool: Any) -> None:
        if self._device is None:
            with _NoWaiting():
                step()
            return
        with torch.cuda.device(self._device):
            self._graph = self._captured(step, pool)

    @staticmethod
    def _captured(step: Callable[[], None], pool: Any) -> Any:
        # Once outside of the graph, as libraries make their handles and workspaces on the first call.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            step()
        return graph


class _NoWaiting(TorchDispatchMode):
    """Refuses operations that a CUDA graph cannot hold."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in INDEXES else ()
        masked = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
        if name in WAITS_FOR_VALUES or masked:
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")
        return func(*args, **(kwargs or {}))
