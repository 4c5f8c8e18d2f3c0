"""Dense attention calls that also return the log-sum-exp, by which partial attentions are merged."""

from __future__ import annotations

import torch

from milepost.engine.attention_call import AttentionCall

Partial = tuple[torch.Tensor, torch.Tensor]
"""Output of attention to some of the keys, and the natural log of the softmax's denominator."""

flash_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
"""The kernel of `scaled_dot_product_attention` on a CPU; the kernel itself also returns the log-sum-exp."""


def attend_densely(call: AttentionCall, mask: torch.Tensor | None, *, flash: bool) -> Partial:
    """Compute attention of queries [B, N, L, D] to keys and values [B, N, K, D].

    Args:
        call: queries, keys and values; the window is ignored.
        mask: [B or 1, 1, L, K], 0 or -inf; None if every query sees every key.
        flash: whether to use torch's kernel for the CPU, which has no softcap.

    Returns:
        output [B, N, L, D] and log-sum-exp [B, N, L].
    """
    if flash:
        output, log_total = flash_kernel(call.query, call.key, call.value, attn_mask=mask, scale=call.scale)
        return output, log_total
    logits = (call.query @ call.key.transpose(-1, -2)).float() * call.scale
    if call.softcap is not None:
        logits = torch.tanh(logits / call.softcap) * call.softcap
    if mask is not None:
        logits = logits + mask
    log_total = logits.logsumexp(-1)
    weights = torch.exp(logits - log_total[..., None]).to(call.value.dtype)
    return weights @ call.value, log_total


def attend_few(
    call: AttentionCall, mask: torch.Tensor, *, merged: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute attention of a few queries [B, N, L, D] to many keys, which are read from memory once.

    A query or three against a thousand keys is bound by reading them; the flash kernel takes a quarter longer
    for it than two batched products, whose first wants the keys as columns.

    Args:
        call: queries, keys as columns [B, N, D, K] and values [B, N, K, D]; the window is ignored.
        mask: [B N, L, K] in float32, 0 or -inf; no query is masked from all keys.
        merged: whether the log-sum-exp is needed.

    Returns:
        output [B, N, L, D] and log-sum-exp [B, N, L] in float32, or None.
    """
    query, key_columns, value = call.query, call.key, call.value
    shape, dtype = query.shape, query.dtype
    if query.device.type == "cpu":
        # Few processors multiply half precision. Keys and values of the KV cache are in float32 already.
        query, key_columns, value = query.float(), key_columns.float(), value.float()
    query, key_columns, value = query.flatten(0, 1), key_columns.flatten(0, 1), value.flatten(0, 1)
    if call.softcap is None and query.dtype == mask.dtype:
        logits = torch.baddbmm(mask, query, key_columns, alpha=call.scale)
    else:
        logits = torch.bmm(query, key_columns).float() * call.scale
        if call.softcap is not None:
            logits = torch.tanh(logits / call.softcap) * call.softcap
        logits += mask
    weights = logits.softmax(-1)
    output = torch.bmm(weights.to(value.dtype), value).view(shape).to(dtype)
    if not merged:
        return output, None
    # The largest weight is exp(largest logit - log-sum-exp): `logsumexp` would compute them all again.
    log_total = logits.amax(-1) - weights.amax(-1).log()
    return output, log_total.view(shape[:3])


def merge(first: Partial, second: Partial) -> torch.Tensor:
    """Return the attention to the keys of both partial attentions, by their log-sum-exps."""
    share = torch.sigmoid(second[1] - first[1])
    return first[0].lerp(second[0], share[..., None].to(first[0].dtype))
