"""The LM head on a GPU, in large blocks without waits, against the LM head on a CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from milepost.engine import lm_head_gpu as rows_gpu
from milepost.engine.body_and_head import SplitModel
from milepost.engine.lm_head import score_on_device, score_rows
from tests.engine.models import VOCAB, tiny_model

N_ROWS, N_TARGETS = 40, 90


def split(architecture: str) -> SplitModel:
    return SplitModel(tiny_model(architecture))


def rows_of(model: SplitModel) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Return hidden states and unordered targets: several at some rows, no target at others."""
    random = np.random.default_rng(0)
    tokens = torch.from_numpy(random.integers(3, VOCAB, (1, N_ROWS)))
    with torch.inference_mode():
        hidden_RD = model.hidden(tokens)[0]
        best = model.logits(hidden_RD).argmax(-1).numpy()
    row = random.integers(0, N_ROWS, N_TARGETS)
    token = np.where(random.random(N_TARGETS) < 0.5, best[row], random.integers(0, VOCAB, N_TARGETS))
    return hidden_RD, row, token


@pytest.mark.parametrize("columns", [7, VOCAB - 1, 8192])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "granite", "gemma2", "cohere", "opt"])
@torch.inference_mode()
def test_blocks_on_the_device_find_what_the_cpu_finds(
    architecture: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_gpu, "COLUMNS_PER_CHUNK", columns)
    monkeypatch.setattr(rows_gpu, "ROWS_PER_BLOCK", 16)
    model = split(architecture)
    hidden_RD, row, token = rows_of(model)
    logprob, greedy = score_on_device(model, hidden_RD, row, token, VOCAB)
    expected, expected_greedy = score_rows(model, hidden_RD, row, token, VOCAB)
    np.testing.assert_allclose(logprob, expected, atol=1e-5)
    np.testing.assert_array_equal(greedy, expected_greedy)
    assert greedy.any()
    assert not greedy.all()


def test_only_a_head_without_scale_and_cap_is_plain() -> None:
    plain = {name: split(name).has_plain_head for name in ("llama", "gpt2", "granite", "gemma2", "cohere")}
    assert plain == {"llama": True, "gpt2": True, "granite": False, "gemma2": False, "cohere": False}


@torch.inference_mode()
def test_the_first_of_equal_logits_is_the_argmax_wherever_chunks_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows_gpu, "COLUMNS_PER_CHUNK", 5)
    model = split("llama")
    model.module.lm_head.weight.zero_()
    model.module.lm_head.weight[[20, 3, 61]] = model.module.lm_head.weight.new_tensor(1.0)
    hidden_RD = torch.ones(2, 32)
    _, greedy = score_on_device(model, hidden_RD, np.array([0, 0, 1]), np.array([3, 20, 61]), VOCAB)
    assert greedy.tolist() == [True, False, False]


@torch.inference_mode()
def test_logits_of_nan_and_minus_infinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_gpu, "COLUMNS_PER_CHUNK", 10)
    model = split("llama")
    weight = model.module.lm_head.weight
    weight.fill_(0.1)
    weight[:30] = float("-inf")
    hidden_RD = torch.ones(3, 32)
    hidden_RD[1] = float("nan")
    logprob, greedy = score_on_device(model, hidden_RD, np.array([0, 0, 1]), np.array([40, 2, 40]), VOCAB)
    assert logprob[0] == pytest.approx(-np.log(VOCAB - 30), abs=1e-5)
    assert logprob[1] == -np.inf
    assert np.isnan(logprob[2])
    assert greedy.tolist() == [False, False, False]


@torch.inference_mode()
def test_a_block_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    model = split("llama")
    hidden_RD, row, token = rows_of(model)
    expected = score_on_device(model, hidden_RD, row, token, VOCAB)
    own = SplitModel.logit_chunks
    sizes: list[int] = []

    def short(self: SplitModel, hidden_RD: torch.Tensor, n_columns: int) -> object:
        sizes.append(len(hidden_RD))
        if len(hidden_RD) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(self, hidden_RD, n_columns)

    monkeypatch.setattr(SplitModel, "logit_chunks", short)
    logprob, greedy = score_on_device(model, hidden_RD, row, token, VOCAB)
    np.testing.assert_allclose(logprob, expected[0], atol=1e-5)
    np.testing.assert_array_equal(greedy, expected[1])
    assert sizes[:3] == [40, 20, 10]
