"""One dense attention call that also gives the log-sum-exp, by which partial attentions are merged."""

from __future__ import annotations

import torch

flash_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
"""What `scaled_dot_product_attention` runs on a CPU; called by name because it also gives the log-sum-exp."""


def attend_densely(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    softcap: float | None,
    flash: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of queries [B, N, L, D] to keys and values [B, N, K, D].

    Args:
        mask: [B or 1, 1, L, K], 0 or -inf; None where everything is seen.
        softcap: of the logits (gemma2); the flash kernel has none.
        flash: by torch's kernel for the CPU.

    Returns:
        output [B, N, L, D] and the natural log of the softmax's denominator [B, N, L].
    """
    if flash:
        output, log_total = flash_kernel(query, key, value, attn_mask=mask, scale=scale)
        return output, log_total
    logits = (query @ key.transpose(-1, -2)).float() * scale
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    if mask is not None:
        logits = logits + mask
    log_total = logits.logsumexp(-1)
    weights = torch.exp(logits - log_total[..., None]).to(value.dtype)
    return weights @ value, log_total


def attend_few(
    query: torch.Tensor,
    key_columns: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scale: float,
    softcap: float | None,
    merged: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention of a few queries [B, N, L, D] to many keys, which are read from memory once.

    A query or three against a thousand keys is bound by reading them; the flash kernel takes a quarter longer
    for it than two batched products, whose first wants the keys as columns.

    Args:
        key_columns: [B, N, D, K].
        value: [B, N, K, D].
        mask: [B N, L, K] in float32, 0 or -inf; no query is masked from all keys.
        softcap: of the logits (gemma2).
        merged: whether the second of what is returned is needed.

    Returns:
        output [B, N, L, D] and the natural log of the softmax's denominator [B, N, L] in float32, or None.
    """
    shape, dtype = query.shape, query.dtype
    if query.device.type == "cpu":
        # Few processors multiply half precision, and a part of the keys in float32 stays in the cache.
        query, key_columns, value = query.float(), key_columns.float(), value.float()
    query, key_columns, value = query.flatten(0, 1), key_columns.flatten(0, 1), value.flatten(0, 1)
    if softcap is None and query.dtype == mask.dtype:
        logits = torch.baddbmm(mask, query, key_columns, alpha=scale)
    else:
        logits = torch.bmm(query, key_columns).float() * scale
        if softcap is not None:
            logits = torch.tanh(logits / softcap) * softcap
        logits += mask
    output = torch.bmm(logits.softmax(-1).to(value.dtype), value).view(shape).to(dtype)
    return output, logits.logsumexp(-1).view(shape[:3]) if merged else None
