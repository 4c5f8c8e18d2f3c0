"""The pack budget follows the free memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from milepost.engine import budget
from tests.engine.models import tiny_model


def test_plenty_of_memory_gives_the_largest_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "free_bytes", lambda _: 10**12)
    assert budget.fitting_budget(tiny_model("llama")) == budget.MAX_TOKENS["cpu"]


def test_activations_take_no_more_than_their_share_of_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    per_token = (24 * 32 + 4 * 48) * 4
    monkeypatch.setattr(budget, "free_bytes", lambda _: per_token * 4 * 700)
    assert budget.fitting_budget(tiny_model("llama")) == 512


def test_a_full_machine_still_gets_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "free_bytes", lambda _: 0)
    assert budget.fitting_budget(tiny_model("llama")) == budget.MIN_TOKENS


def test_free_memory_is_what_linux_calls_available(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    monkeypatch.setattr(budget, "LINUX_MEMORY", tmp_path / "meminfo")
    assert budget.free_bytes(torch.device("cpu")) == 5 * 1024
