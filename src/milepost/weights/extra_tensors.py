"""Decide which tensors without a place in the config's architecture may be left out.

transformers leaves all of them out with a warning. That is right for parts that were trained beside the model
(a value head, layers that predict further tokens), for masks and rotary tables, which are computed again, and
for scales of a cache that is not quantized. It is wrong for tensors that change the logits: a bias or layer
that is not in the config, an adapter that was not merged, scales of quantized weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch

_MADE_ANEW = re.compile(
    r"rotary(?:_pos)?_emb\.(?:original_)?inv_freq$|rotary_emb\.(?:cos|sin)_cached$"
    r"|\.attn\.(?:masked_)?bias$|\.attention\.(?:masked_)?bias$|\.attn\.attention\.(?:masked_)?bias$"
    r"|(?:^|\.)position_ids$|(?:^|\.)(?:_extra_state|num_batches_tracked)$|(?:^|[._])attn_mask$"
    r"|(?:^|\.)rope\.freqs$|(?:^|\.)freqs_cis$|\.rotary_emb\.scale$"
)
"""Causal masks, rotary tables and states that are not weights."""
_SCALE = re.compile(
    r"(?:^|[._])(?:scales?|scale_inv|zero_points?|zeros|amax|g_idx|absmax|quant_map|quant_state[\w.]*|SCB)$"
)
"""Tensors that quantizers store beside a weight or for the KV cache (`k_scale`)."""
_BESIDE = re.compile(
    r"(?:^|[._])(?:v_head|\w*head\w*|aux\w*|value\w*|reward\w*|score\w*|critic\w*|classifier\w*|mtp\w*|medusa\w*"
    r"|eagle\w*|predictor\w*|probe\w*|ema\w*)(?:$|\.)"
)
"""Parts that are trained beside a language model and may be in its layers."""
_ADAPTER = re.compile(r"(?:^|\.)(?:lora_\w+|base_layer|ia3_l|modules_to_save|hada_w\w+|oft_\w+)(?:\.|$)")


def is_made_anew(name: str) -> bool:
    """Return True if a tensor of an old checkpoint is a mask or table that transformers creates itself."""
    return bool(_MADE_ANEW.search(name))


class _Known:
    """The module's tensors, for several kinds of lookup."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self.patterns = {_without_numbers(name) for name in self.names}
        self.homes = {_home(name) for name in self.names}


def _change_by(name: str, known: _Known, tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Return why an unknown tensor cannot be left out; None if it can."""
    if is_made_anew(name):
        return None
    if _ADAPTER.search(name):
        return "is from an adapter that was not merged"
    parent, _, last = name.rpartition(".")
    if _SCALE.search(name):
        weights = [tensors.get(f"{parent}.weight"), tensors.get(name.rpartition("_")[0])]
        if any(weight is not None and weight.dtype.itemsize == 1 for weight in weights):
            return "is the scale of quantized weights, which cannot be read yet"
        return None
    if f"{parent}.weight" in known.names or f"{parent}.bias" in known.names:
        return f"adds a {last} to a layer that has none in the config"
    if _without_numbers(name) in known.patterns:
        return "is from a layer beyond the config's number of layers"
    if _BESIDE.search(name):
        return None
    if any(part.isdecimal() for part in name.split(".")) and _home(name) in known.homes:
        return "is a part of a layer that the config's architecture does not have"
    return None


def sort_left_over(
    left_over: Iterable[str], known: Iterable[str], tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, str], list[str]]:
    """Return the left-over tensors that would change the logits, with the reason, and those worth a warning.

    Args:
        left_over: names without a place in the module.
        known: names of the module's tensors, with and without the body's prefix.
        tensors: all tensors of the checkpoint.
    """
    module = _Known(known)
    harmful, harmless = {}, []
    for name in left_over:
        change = _change_by(name, module, tensors)
        if change is not None:
            harmful[name] = change
        elif not is_made_anew(name):
            harmless.append(name)
    return harmful, harmless


def _without_numbers(name: str) -> str:
    return ".".join("N" if part.isdecimal() else part for part in name.split("."))


def _home(name: str) -> str:
    """Return the part of a name before its first number: the place of the layers."""
    parts = name.split(".")
    first = next((i for i, part in enumerate(parts) if part.isdecimal()), len(parts))
    return ".".join(parts[:first])
