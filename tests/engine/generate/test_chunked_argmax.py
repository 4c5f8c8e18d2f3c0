"""The argmax of chunks of the vocabulary equals that of all logits."""

from __future__ import annotations

import pytest
import torch

from milepost.engine.body_and_head import SplitModel
from milepost.engine.generate import chunked_argmax as parts
from milepost.engine.generate.chunked_argmax import chunked_argmax
from tests.engine.models import VOCAB, tiny_model


@pytest.fixture(autouse=True)
def narrow_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "COLUMNS_PER_PART", 7)


@pytest.fixture
def model() -> SplitModel:
    split = SplitModel(tiny_model("llama"))
    assert split.n_columns == VOCAB > 7
    return split


@torch.inference_mode()
def test_the_token_has_the_largest_of_all_logits(model: SplitModel) -> None:
    hidden_TD = model.hidden(torch.arange(40)[None])[0]
    expected = model.logits(hidden_TD).argmax(-1)
    assert chunked_argmax(model, hidden_TD, VOCAB).tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 7


@torch.inference_mode()
def test_the_first_of_equal_logits_counts_within_and_across_chunks(model: SplitModel) -> None:
    weight = torch.zeros_like(model.module.get_output_embeddings().weight)
    weight[[3, 5, 30]] = 1.0
    model.module.get_output_embeddings().weight = torch.nn.Parameter(weight)
    assert chunked_argmax(model, torch.ones(2, weight.shape[1]), VOCAB).tolist() == [3, 3]


@torch.inference_mode()
def test_a_row_of_nan_has_no_token_and_other_rows_keep_theirs(model: SplitModel) -> None:
    hidden_TD = model.hidden(torch.arange(3)[None])[0].clone()
    hidden_TD[1] = float("nan")
    expected = model.logits(hidden_TD).argmax(-1).tolist()
    assert chunked_argmax(model, hidden_TD, VOCAB).tolist() == [expected[0], -1, expected[2]]
