"""The packed engine against the reference, on every architecture, for any way of cutting the work."""

from __future__ import annotations

import pytest

from engine.models import CONFIGS, VOCAB, close, random_requests, tiny_model
from milepost.engine.packed import PackedEngine
from milepost.engine.reference import ReferenceEngine

FALLS_BACK = {"bloom", "falcon", "gpt_neo", "mamba2"}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_packed_equals_reference_or_says_why_it_is_not_used(architecture: str) -> None:
    model = tiny_model(architecture)
    sequences = random_requests(n=40)
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=150)
    close(engine.score(sequences), ReferenceEngine(model, vocab_size=VOCAB).score(sequences), 2e-5)
    if architecture in FALLS_BACK:
        assert engine.name == "padded"
        assert "does not let its attention be replaced" in str(engine.fallback)
    else:
        assert (engine.name, engine.fallback) == ("packed", None)
