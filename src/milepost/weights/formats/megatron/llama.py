"""Convert a Megatron model with rotary positions to Llama, or to an architecture with Llama's names.

| model | architecture |
|---|---|
| RMSNorm, gated MLP, all dimensions rotated | Llama |
| the same, some dimensions rotated, no biases but on queries, keys, values | GLM |
| the same as Llama, queries and keys normalised | Qwen3 |
| RMSNorm, plain MLP, all dimensions rotated | Arcee |
| LayerNorm, plain MLP | Nemotron |
| LayerNorm, gated MLP, no biases but on queries, keys, values | StableLM |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    ArceeConfig,
    GlmConfig,
    LlamaConfig,
    NemotronConfig,
    PretrainedConfig,
    Qwen3Config,
    StableLmConfig,
)

from milepost.weights.formats.megatron.args import MegatronArgs
from milepost.weights.formats.megatron.attention import interleaved, split_qkv
from milepost.weights.formats.megatron.tensor_specs import EMBEDDING, FC1, OUTPUT, QKV, layer_name

_OUTSIDE: Mapping[str, str] = {
    EMBEDDING: "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "decoder.final_layernorm.bias": "model.norm.bias",
    OUTPUT: "lm_head.weight",
}
_INSIDE: Mapping[str, str] = {
    "input_layernorm": "input_layernorm",
    "self_attention.linear_proj": "self_attn.o_proj",
    "self_attention.q_layernorm": "self_attn.q_norm",
    "self_attention.k_layernorm": "self_attn.k_norm",
    "pre_mlp_layernorm": "post_attention_layernorm",
    FC1: "mlp.up_proj",
    "mlp.linear_fc2": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class LlamaLike:
    """Conversion of a Megatron model to an architecture with Llama's names."""

    architecture: str
    config_class: Callable[..., PretrainedConfig]
    fits: Callable[[MegatronArgs], bool]
    """True if the architecture computes the same as the model."""
    options: Callable[[MegatronArgs], dict[str, Any]]
    """Returns the architecture's own entries of the config."""
    fused_gate: bool = False
    """True if gate and up projections stay one tensor."""
    interleaves: bool = False
    """True if neighbouring dimensions are rotated together."""
    norm_less_one: bool = False
    """True if weights of norms are stored minus one."""
    output_bias: bool = False
    """True if the attention output has a bias whenever queries, keys and values have one."""

    def config(self, args: MegatronArgs, vocabulary: int) -> PretrainedConfig:
        """Return the config of the module."""
        return self.config_class(
            architectures=[self.architecture],
            vocab_size=vocabulary,
            hidden_size=args.hidden,
            intermediate_size=args.ffn,
            num_hidden_layers=args.layers,
            num_attention_heads=args.heads,
            num_key_value_heads=args.groups,
            head_dim=args.head_dim,
            hidden_act=args.activation,
            max_position_embeddings=args.context,
            rope_parameters=_rope(args),
            tie_word_embeddings=args.tied,
            dtype=args.dtype,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
            **self.options(args),
        )

    def tensors(
        self, args: MegatronArgs, name: str, tensor: torch.Tensor
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Return the module's tensors for one tensor of the model."""
        if "layernorm" in name and name.endswith(".weight") and args.norm_plus_one != self.norm_less_one:
            tensor = tensor.float() + (1 if args.norm_plus_one else -1)
        found = layer_name(name)
        if found is None:
            yield _OUTSIDE[name], tensor
            return
        part, _, kind = found.name.rpartition(".")
        layer = f"model.layers.{found.layer}"
        if part == QKV:
            for letter, own in zip("qkv", split_qkv(tensor, args), strict=True):
                turned = interleaved(own, args) if self.interleaves and letter != "v" else own
                yield f"{layer}.self_attn.{letter}_proj.{kind}", turned
        elif part == FC1 and args.gated and self.fused_gate:
            yield f"{layer}.mlp.gate_up_proj.{kind}", tensor
        elif part == FC1 and args.gated:
            yield f"{layer}.mlp.gate_proj.{kind}", tensor[: args.ffn]
            yield f"{layer}.mlp.up_proj.{kind}", tensor[args.ffn :]
        else:
            yield f"{layer}.{_INSIDE[part]}.{kind}", tensor

    def additions(self, args: MegatronArgs) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the biases that only the module has: zeros."""
        if self.output_bias and args.qkv_bias and not args.bias:
            for layer in range(args.layers):
                zeros = torch.zeros(args.hidden, dtype=getattr(torch, args.dtype))
                yield f"model.layers.{layer}.self_attn.o_proj.bias", zeros


def _rope(args: MegatronArgs) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": args.rotary_base}
    if args.llama3_scaling is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": args.llama3_scaling,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
    elif args.linear_scaling is not None:
        rope |= {"rope_type": "linear", "factor": args.linear_scaling}
    return rope | {"partial_rotary_factor": args.rotary_dim / args.head_dim}


def _rotates_all(args: MegatronArgs) -> bool:
    return args.rotary_dim == args.head_dim


def _is_rotary(args: MegatronArgs) -> bool:
    both = args.llama3_scaling is not None and args.linear_scaling is not None
    return args.position == "rope" and not both


def _has_rms(args: MegatronArgs) -> bool:
    return _is_rotary(args) and args.norm == "RMSNorm"


def _biases(args: MegatronArgs) -> dict[str, bool]:
    return {"attention_bias": args.qkv_bias, "mlp_bias": args.bias}


LLAMA_LIKE = (
    LlamaLike(
        "LlamaForCausalLM",
        LlamaConfig,
        lambda args: _has_rms(args) and args.gated and _rotates_all(args) and not args.qk_norm,
        lambda args: {"rms_norm_eps": args.norm_epsilon, **_biases(args)},
        output_bias=True,
    ),
    LlamaLike(
        "GlmForCausalLM",
        GlmConfig,
        lambda args: _has_rms(args) and args.gated and not args.bias and not args.qk_norm,
        lambda args: {"rms_norm_eps": args.norm_epsilon, "attention_bias": args.qkv_bias},
        fused_gate=True,
        interleaves=True,
    ),
    LlamaLike(
        "Qwen3ForCausalLM",
        Qwen3Config,
        lambda args: _has_rms(args) and args.gated and _rotates_all(args) and args.qk_norm and not args.bias,
        lambda args: {"rms_norm_eps": args.norm_epsilon, "attention_bias": args.qkv_bias},
        output_bias=True,
    ),
    LlamaLike(
        "ArceeForCausalLM",
        ArceeConfig,
        lambda args: _has_rms(args) and not args.gated and _rotates_all(args) and not args.qk_norm,
        lambda args: {"rms_norm_eps": args.norm_epsilon, **_biases(args)},
        output_bias=True,
    ),
    LlamaLike(
        "NemotronForCausalLM",
        NemotronConfig,
        lambda args: _is_rotary(args) and args.norm == "LayerNorm" and not args.gated and not args.qk_norm,
        lambda args: {"norm_eps": args.norm_epsilon, **_biases(args)},
        norm_less_one=True,
        output_bias=True,
    ),
    LlamaLike(
        "StableLmForCausalLM",
        StableLmConfig,
        lambda args: (
            _is_rotary(args)
            and args.norm == "LayerNorm"
            and args.gated
            and not args.bias
            and not args.qk_norm
            and args.heads * args.head_dim == args.hidden
        ),
        lambda args: {"layer_norm_eps": args.norm_epsilon, "use_qkv_bias": args.qkv_bias},
    ),
)
"""In order of preference."""
