"""The GPU path on a CPU: the package's switch for tests, and a compiler that counts and can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.attention.flex_attention as flex_module

from milepost.engine.accelerator import EMULATE
from milepost.engine.attention_gpu import FlexRunner

BACKEND = "milepost_counting"


@dataclass
class Compiler:
    """Records calls of torch.compile; graphs run as they were captured, without code generation."""

    graphs: list[int] = field(default_factory=list)
    """Nodes of each compiled graph."""
    flex_graphs: int = 0
    """How many of them hold FlexAttention."""
    dense_calls: int = 0
    """Calls of FlexAttention outside of torch.compile."""
    skips_attention: bool = False
    """Whether FlexAttention's graphs give zeros: emulated, they compute every pair of a pack."""
    on_compile: Callable[[], None] = lambda: None
    """Called for each graph; may raise."""
    on_run: Callable[[list[torch.Tensor]], None] = lambda tensors: None
    """Called with the tensors that a graph is run on; may raise."""

    def compile(self, graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        """A backend of torch.compile."""
        self.on_compile()
        self.graphs.append(len(graph.graph.nodes))
        is_flex = any("flex_attention" in str(node.target) for node in graph.graph.nodes)
        self.flex_graphs += is_flex

        def run(*inputs: Any) -> Any:
            self.on_run([one for one in inputs if isinstance(one, torch.Tensor)])
            if is_flex and self.skips_attention:
                query = next(one for one in inputs if isinstance(one, torch.Tensor) and one.ndim == 4)
                return (torch.zeros_like(query),)
            return graph.forward(*inputs)

        return run


_current = Compiler()


@torch._dynamo.register_backend(name=BACKEND)
def _backend(graph: torch.fx.GraphModule, examples: object) -> Callable[..., Any]:
    return _current.compile(graph, examples)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiler]:
    """Let engines on the CPU take the GPU path and compile with the returned compiler."""
    global _current
    _current = Compiler()
    torch.compiler.reset()
    monkeypatch.setenv(EMULATE, BACKEND)
    monkeypatch.setattr(FlexRunner, "dense_calls", 0)
    own = flex_module.setup_compilation_env

    def counted() -> Any:
        _current.dense_calls += 1
        return own()

    monkeypatch.setattr(flex_module, "setup_compilation_env", counted)
    yield _current
    torch.compiler.reset()
