"""Dense attention gives torch's own softmax and log-sum-exp."""

from __future__ import annotations

import math

import pytest
import torch

from milepost.engine.attention_call import AttentionCall
from milepost.engine.attention_dense import attend_few

ROWS, HEADS, QUERIES, KEYS, SIZE = 3, 2, 4, 50, 8


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("sharpness", [0.1, 30.0])  # almost equal weights; one key with nearly all of it
def test_a_few_queries_give_the_output_and_log_sum_exp_of_a_plain_softmax(
    softcap: float | None, sharpness: float
) -> None:
    random = torch.Generator().manual_seed(0)
    query = torch.randn(ROWS, HEADS, QUERIES, SIZE, generator=random) * sharpness
    key = torch.randn(ROWS, HEADS, SIZE, KEYS, generator=random)
    value = torch.randn(ROWS, HEADS, KEYS, SIZE, generator=random)
    hidden_BK = torch.arange(KEYS) >= torch.tensor([[KEYS], [30], [1]])
    mask_BK = torch.zeros(ROWS, KEYS).masked_fill(hidden_BK, -math.inf)
    mask = mask_BK[:, None, None].expand(-1, HEADS, QUERIES, -1).flatten(0, 1)
    output, log_total = attend_few(AttentionCall(query, key, value, 0.5, softcap=softcap), mask, merged=True)
    logits = (query @ key).double() * 0.5
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    logits += mask.view(ROWS, HEADS, QUERIES, KEYS)
    torch.testing.assert_close(output, (logits.softmax(-1) @ value.double()).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_total, logits.logsumexp(-1).float(), rtol=1e-5, atol=1e-5)
