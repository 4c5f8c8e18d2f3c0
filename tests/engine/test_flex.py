"""The GPU's attention, run without a GPU: small, through a compiler that only captures the graph."""

from __future__ import annotations

import functools

import pytest
import torch

from engine.models import VOCAB, close, random_requests, tiny_model
from milepost.engine.packed import PackedEngine
from milepost.engine.reference import ReferenceEngine


@pytest.fixture
def graph_only(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """torch.compile that captures whole graphs but generates no code; holds one entry per compiled graph."""
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend, fullgraph=True))
    monkeypatch.setattr(PackedEngine, "_on_gpu", property(lambda self: True))
    return graphs


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mistral with a window"])
def test_flex_equals_reference(architecture: str, graph_only: list[int]) -> None:
    model = tiny_model(architecture)
    sequences = random_requests(seed=8, n=32)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=128)
    close(engine.score(sequences), ReferenceEngine(model, vocab_size=VOCAB).score(sequences), 2e-5)
    assert (engine.name, engine.fallback) == ("packed", None)
    assert len(graph_only) == 1, "the body is compiled once, for all packs"
