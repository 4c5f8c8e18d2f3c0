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
        return flash_kernel(query, key, value, attn_mask=mask, scale=scale)
    logits = (query @ key.transpose(-1, -2)).float() * scale
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    if mask is not None:
        logits = logits + mask
    log_total = logits.logsumexp(-1)
    weights = torch.exp(logits - log_total[..., None]).to(value.dtype)
    return weights @ value, log_total
