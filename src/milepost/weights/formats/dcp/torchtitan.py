"""Convert torchtitan's Llama 3 to transformers' Llama: weight names, order of rotary pairs, arguments.

Source: torchtitan v0.2, models/llama3/model/ (`args.py`, `model.py`, `state_dict_adapter.py`), and the weight
names that changed in v0.3. torchtitan rotates neighbouring elements of a head, transformers the two halves,
so the rows of wq and wk are reordered within each head. Its Llama 3 always scales its rotary frequencies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from transformers import PretrainedConfig

from milepost.errors import CheckpointError
from milepost.text.messages import shown

EMBEDDING = "tok_embeddings.weight"
_OUTSIDE_LAYERS = {
    EMBEDDING: "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "lm_head.weight": "lm_head.weight",
}
_IN_LAYERS = {
    "attention.wq.weight": "self_attn.q_proj.weight",
    "attention.wk.weight": "self_attn.k_proj.weight",
    "attention.wv.weight": "self_attn.v_proj.weight",
    "attention.wo.weight": "self_attn.o_proj.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}
_LAYER = re.compile(r"layers\.(\d+)\.(.+)")
_TABLES = frozenset({"freqs_cis", "rope.cache"})
"""Rotary tables, which transformers computes again."""
_DEFAULTS: Mapping[str, Any] = {
    "n_kv_heads": None,
    "multiple_of": 256,
    "ffn_dim_multiplier": None,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_seq_len": 131072,
}
_SCALING = {
    "scaling_factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def names_for_transformers(names: Iterable[str]) -> dict[str, str]:
    """Map torchtitan's name of each known weight to transformers' name.

    v0.3 has wq, wk and wv in `qkv_linear.`.
    """
    known = {}
    for name in names:
        layer = _LAYER.fullmatch(name)
        if layer is None:
            own = _OUTSIDE_LAYERS.get(name)
        else:
            part = _IN_LAYERS.get(layer[2].replace("qkv_linear.", ""))
            own = f"model.layers.{layer[1]}.{part}" if part else None
        if own is not None:
            known[name] = own
    return known


def is_table(name: str) -> bool:
    """Return True if a tensor is a table and not a weight."""
    return name in _TABLES


def in_halves(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Reorder the rows of wq or wk from neighbouring rotary pairs to two halves, head by head.

    Args:
        weight: [n_heads * head size, hidden size].
    """
    n_rows, n_columns = weight.shape
    pairs = weight.view(n_heads, n_rows // n_heads // 2, 2, n_columns)
    return pairs.transpose(1, 2).reshape(n_rows, n_columns)


def as_llama(
    where: str, config: PretrainedConfig, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Convert weights with torchtitan's names to transformers' Llama.

    Raises:
        CheckpointError: the config is not a Llama's, or its heads do not divide the weights.
    """
    if config.model_type != "llama":
        raise CheckpointError(
            f"{where}: torchtitan's Llama 3 needs a config of a llama, not of {shown(config.model_type)}"
        )
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    converted = {}
    for name, own in names_for_transformers(tensors).items():
        tensor = tensors[name]
        n_heads = heads.get(own.split(".")[-2])
        if n_heads is not None:
            if tensor.ndim != 2 or tensor.shape[0] % (2 * n_heads):
                raise CheckpointError(
                    f"{where} does not fit its config: {shown(name)} has the shape {list(tensor.shape)}, "
                    f"for {n_heads} heads"
                )
            tensor = in_halves(tensor, n_heads)
        converted[own] = tensor
    return converted


def are_torchtitan_arguments(raw: Mapping[str, Any]) -> bool:
    """Return True if a config is torchtitan's `TransformerModelArgs` and not transformers'."""
    return "model_type" not in raw and {"dim", "n_layers", "n_heads"} <= raw.keys()


def as_llama_config(name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert torchtitan's arguments to the `config.json` of transformers' Llama, with defaults.

    Raises:
        CheckpointError: an argument is missing or of another type.
    """
    arguments = {**_DEFAULTS, **{key: value for key, value in raw.items() if value is not None}}
    scaling = _SCALING | dict(raw.get("rope_scaling_args") or {})
    try:
        dim, n_heads = int(arguments["dim"]), int(arguments["n_heads"])
        return {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": dim,
            "intermediate_size": _hidden_of_feed_forward(dim, arguments),
            "num_hidden_layers": int(arguments["n_layers"]),
            "num_attention_heads": n_heads,
            "num_key_value_heads": int(arguments["n_kv_heads"] or n_heads),
            "vocab_size": int(arguments["vocab_size"]),
            "rms_norm_eps": float(arguments["norm_eps"]),
            "max_position_embeddings": int(arguments["max_seq_len"]),
            "tie_word_embeddings": bool(arguments.get("enable_weight_tying", False)),
            "rope_parameters": _rope(float(arguments["rope_theta"]), scaling),
        }
    except KeyError as error:
        raise CheckpointError(f"{name} lacks torchtitan's argument {shown(error)}") from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{name} has an argument that torchtitan does not have: {error}") from error


def with_scaling(config: PretrainedConfig, raw: Mapping[str, Any]) -> tuple[PretrainedConfig, str | None]:
    """Add the rotary scaling of torchtitan's Llama 3 to the config, unless the config has its own.

    Returns:
        The config, and a remark if it says that there is no scaling, which is then used.
    """
    if are_torchtitan_arguments(raw):
        return config, None
    own = raw.get("rope_parameters") or raw.get("rope_scaling")
    if own is None:
        changed = type(config)(
            **{**config.to_dict(), "rope_parameters": _rope(_theta(config, raw), _SCALING)}
        )
        return changed, None
    if isinstance(own, dict) and own.get("rope_type", own.get("type", "default")) == "default":
        return config, "its config says that rotary frequencies are not scaled; torchtitan v0.2 scales them"
    return config, None


def _theta(config: PretrainedConfig, raw: Mapping[str, Any]) -> float:
    known = getattr(config, "rope_parameters", None) or {}
    return float(raw.get("rope_theta") or known.get("rope_theta") or 10000.0)


def _rope(theta: float, scaling: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": float(scaling["scaling_factor"]),
        "low_freq_factor": float(scaling["low_freq_factor"]),
        "high_freq_factor": float(scaling["high_freq_factor"]),
        "original_max_position_embeddings": int(scaling["original_max_position_embeddings"]),
    }


def _hidden_of_feed_forward(dim: int, arguments: Mapping[str, Any]) -> int:
    """Return the hidden size, rounded as in torchtitan's FeedForward (model.py)."""
    hidden = int(2 * 4 * dim / 3)
    if arguments["ffn_dim_multiplier"]:
        hidden = int(float(arguments["ffn_dim_multiplier"]) * hidden)
    multiple = int(arguments["multiple_of"])
    return multiple * ((hidden + multiple - 1) // multiple)
