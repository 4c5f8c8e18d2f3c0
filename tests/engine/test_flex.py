"""The GPU's attention, run without a GPU: small, through a compiler that only captures the graph."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from engine.models import VOCAB, close, pack_up, random_requests, tiny_model
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
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_flex_equals_reference(architecture: str, graph_only: list[int]) -> None:
    model = tiny_model(architecture)
    sequences = random_requests(seed=8, n=100)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=128)
    close(engine.score(sequences), ReferenceEngine(model, vocab_size=VOCAB).score(sequences), 2e-5)
    assert (engine.name, engine.fallback) == ("packed", None)
    assert len(graph_only) == 1, "the body is compiled once, for all packs"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_broken_token_reaches_only_the_sequences_that_have_it(graph_only: list[int]) -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[50] = float("nan")
    random = np.random.default_rng(1)
    items = [([3, 4, 5, *random.integers(6, 90, 9).tolist()], 4) for _ in range(30)]
    scores = PackedEngine(model, vocab_size=VOCAB, budget_tokens=128).score(pack_up(items))
    broken = [50 in tokens[:-1] for tokens, _ in items]
    assert np.isnan(scores.loglikelihood).tolist() == broken
    assert any(broken)
    assert not all(broken)
