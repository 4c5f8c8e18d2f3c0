"""Decide which tensors without a place in the config's architecture may be left out.

transformers leaves all of them out with a warning. That is right for what was trained beside the model (a
value head, layers that predict further tokens) or is made anew (masks, rotary tables), and for scales of a
cache that is not quantized. It is not where the tensor would change the logits: a bias that the config leaves
out, layers beyond those that it counts, an adapter that was not merged, scales of quantized weights.
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
"""Causal masks, rotary tables and states that are no weights."""
_SCALE = re.compile(
    r"(?:^|[._])(?:scales?|scale_inv|zero_points?|zeros|amax|g_idx|absmax|quant_map|quant_state[\w.]*|SCB)$"
)
"""Tensors that quantizers store beside a weight or for the KV cache (`k_scale`)."""
_BESIDE = re.compile(
    r"(?:^|[._])(?:v_head|\w*head\w*|aux\w*|value\w*|reward\w*|score\w*|critic\w*|classifier\w*|mtp\w*|medusa\w*"
    r"|eagle\w*|predictor\w*|probe\w*|ema\w*)(?:$|\.)"
)
"""Parts that are trained beside a language model, and may lie in its layers."""
_ADAPTER = re.compile(r"(?:^|\.)(?:lora_\w+|base_layer|ia3_l|modules_to_save|hada_w\w+|oft_\w+)(?:\.|$)")


def is_made_anew(name: str) -> bool:
    """Return whether a tensor of an old checkpoint is a mask or table that transformers creates itself."""
    return bool(_MADE_ANEW.search(name))


class _Known:
    """The tensors that the module has, looked up in several ways."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self.patterns = {_without_numbers(name) for name in self.names}
        self.homes = {_home(name) for name in self.names}


def _what_it_changes(name: str, known: _Known, tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Return why an unknown tensor cannot be left out; None if it can."""
    if is_made_anew(name):
        return None
    if _ADAPTER.search(name):
        return "is of an adapter that was not merged"
    parent, _, last = name.rpartition(".")
    if _SCALE.search(name):
        weights = [tensors.get(f"{parent}.weight"), tensors.get(name.rpartition("_")[0])]
        if any(weight is not None and weight.dtype.itemsize == 1 for weight in weights):
            return "is the scale of quantized weights, which cannot be read yet"
        return None
    if f"{parent}.weight" in known.names or f"{parent}.bias" in known.names:
        return f"adds a {last} to a layer that has none by the config"
    if _without_numbers(name) in known.patterns:
        return "is of a layer beyond those that the config counts"
    if _BESIDE.search(name):
        return None
    if any(part.isdecimal() for part in name.split(".")) and _home(name) in known.homes:
        return "is a part of a layer that the config's architecture does not have"
    return None


def judged(
    left_over: Iterable[str], known: Iterable[str], tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, str], list[str]]:
    """The left-over tensors that would change the logits, with what they do, and those worth a warning.

    Args:
        left_over: names that transformers had no place for.
        known: names of the tensors that the module has, with and without the body's prefix.
        tensors: all that the checkpoint holds.
    """
    there = _Known(known)
    harmful, harmless = {}, []
    for name in left_over:
        what = _what_it_changes(name, there, tensors)
        if what is not None:
            harmful[name] = what
        elif not is_made_anew(name):
            harmless.append(name)
    return harmful, harmless


def _without_numbers(name: str) -> str:
    return ".".join("N" if part.isdecimal() else part for part in name.split("."))


def _home(name: str) -> str:
    """A name up to its first number: where the layers are kept."""
    parts = name.split(".")
    first = next((i for i, part in enumerate(parts) if part.isdecimal()), len(parts))
    return ".".join(parts[:first])
