"""A module spread over devices computes what it computes on one; devices are stood in for by the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from milepost.engine import build_engine
from milepost.errors import CheckpointError
from milepost.weights import LiveModel, read_checkpoint
from tests.engine.models import random_requests


def test_spread_layers_score_the_same_and_take_the_next_weights(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import dispatch_model  # before another takes its place

    def on_cpu(module: Any, places: dict[str, Any]) -> Any:
        return dispatch_model(module, dict.fromkeys(places, "cpu"), force_hooks=True)

    parts = {"model.embed_tokens": 0, "model.layers.0": 0, "model.layers.1": 1, "model.norm": 1, "lm_head": 1}
    monkeypatch.setattr("accelerate.infer_auto_device_map", lambda *_, **__: {"": 0} | parts)
    monkeypatch.setattr("accelerate.utils.get_balanced_memory", lambda *_, **__: {})
    monkeypatch.setattr("accelerate.dispatch_model", lambda module, places: on_cpu(module, parts))
    sequences = random_requests()
    read = [read_checkpoint(tiny_run / f"checkpoint-{step}", "safetensors") for step in (10, 20)]
    spread = LiveModel.build(read[0], device="cuda", is_spread=True)
    assert hasattr(spread.module.model.layers[0], "_hf_hook")
    spread.copy_from(read[1])
    alone = LiveModel.build(read_checkpoint(tiny_run / "checkpoint-20", "safetensors"))
    expected = build_engine("reference", alone.module, vocab_size=alone.vocab_size).score(sequences)
    for name in ("auto", "padded"):
        engine = build_engine(name, spread.module, vocab_size=spread.vocab_size, trial=sequences)
        found = engine.score(sequences)
        torch.testing.assert_close(
            torch.from_numpy(found.loglikelihood), torch.from_numpy(expected.loglikelihood), rtol=0, atol=1e-4
        )


def test_gpus_without_room_are_said(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate.infer_auto_device_map", lambda *_, **__: {"model": 0, "lm_head": "cpu"})
    monkeypatch.setattr("accelerate.utils.get_balanced_memory", lambda *_, **__: {})
    with pytest.raises(CheckpointError, match="does not fit into the free memory of"):
        LiveModel.build(
            read_checkpoint(tiny_run / "checkpoint-10", "safetensors"), device="cuda", is_spread=True
        )
