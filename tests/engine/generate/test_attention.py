"""Prompts of one prefill pass attend to the prefix that they share."""

from __future__ import annotations

import pytest
import torch

from milepost.engine.attention_call import AttentionCall
from milepost.engine.attention_dense import Partial
from milepost.engine.generate import attention
from milepost.engine.generate.attention import Prefill, PromptSpan
from milepost.engine.generate.kv_cache import KVCache, cache_dtype

LENGTHS, N_PREFIX, HEADS, KEY_HEADS, SIZE = (5, 3, 7), 20, 4, 2, 8


def prefilled(call: AttentionCall, prefix: AttentionCall) -> torch.Tensor:
    """Return the outputs [1, T, H, D] of three prompts behind a shared prefix."""
    cache = KVCache(len(LENGTHS), max(LENGTHS))
    cache.keep_prefix(0, prefix.key, prefix.value)
    stops = torch.tensor(LENGTHS).cumsum(0).tolist()
    spans = [PromptSpan(slot, stop - LENGTHS[slot], stop) for slot, stop in enumerate(stops)]
    return Prefill(cache, spans).attend(0, call)


def test_all_prompts_of_a_pass_read_the_shared_prefix_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)

    def call_of(n_tokens: int) -> AttentionCall:
        query, key, value = (
            torch.randn(1, heads, n_tokens, SIZE, generator=generator)
            for heads in (HEADS, KEY_HEADS, KEY_HEADS)
        )
        return AttentionCall(query, key, value, SIZE**-0.5)

    call, prefix = call_of(sum(LENGTHS)), call_of(N_PREFIX)
    n_keys: list[int] = []
    dense = attention.attend_densely

    def counted(part: AttentionCall, *others: torch.Tensor | None, flash: bool) -> Partial:
        n_keys.append(part.key.shape[2])
        return dense(part, *others, flash=flash)

    monkeypatch.setattr(attention, "attend_densely", counted)
    together = prefilled(call, prefix)
    assert n_keys == [N_PREFIX]
    # Without the flash kernel the logits are held, so that each prompt reads the prefix for itself.
    monkeypatch.setattr(AttentionCall, "fits_flash_kernel", False)
    apart = prefilled(call, prefix)
    assert n_keys.count(N_PREFIX) == 1 + len(LENGTHS)
    torch.testing.assert_close(together, apart)
    start = 0
    for length in LENGTHS:
        query, key, value = (
            part[:, :, start : start + length] for part in (call.query, call.key, call.value)
        )
        whole = torch.nn.functional.scaled_dot_product_attention(
            query,
            torch.cat([prefix.key, key], 2),
            torch.cat([prefix.value, value], 2),
            attn_mask=torch.ones(length, N_PREFIX + length, dtype=torch.bool).tril(N_PREFIX),
            enable_gqa=True,
        )
        torch.testing.assert_close(together[:, start : start + length], whole.transpose(1, 2))
        start += length


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keys_are_widened_when_they_are_kept_and_read_back_unchanged(
    dtype: torch.dtype,
) -> None:
    cache = KVCache(2, 6)
    key, value = (torch.randn(1, KEY_HEADS, 4, SIZE).to(dtype) for _ in range(2))
    keys, values = cache.layer(0, key, value)
    assert keys.dtype == values.dtype == cache_dtype(dtype, key.device) == torch.float32
    cache.write(0, 1, 0, key[0], value[0])
    for kept, given in zip(cache.read(0, 1, 4), (key[0], value[0]), strict=True):
        assert torch.equal(kept, given.float())
    assert cache_dtype(dtype, torch.device("cuda")) == dtype
