"""Convert a Megatron model with learned positions, LayerNorm and a plain MLP to transformers' GPT-2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from transformers import GPT2Config, PretrainedConfig

from milepost.weights.formats.megatron.args import MegatronArgs
from milepost.weights.formats.megatron.attention import split_qkv
from milepost.weights.formats.megatron.tensor_specs import EMBEDDING, FC1, OUTPUT, POSITIONS, QKV, layer_name

_OUTSIDE: Mapping[str, str] = {
    EMBEDDING: "transformer.wte.weight",
    POSITIONS: "transformer.wpe.weight",
    "decoder.final_layernorm.weight": "transformer.ln_f.weight",
    "decoder.final_layernorm.bias": "transformer.ln_f.bias",
    OUTPUT: "lm_head.weight",
}
_INSIDE: Mapping[str, str] = {
    "input_layernorm": "ln_1",
    QKV: "attn.c_attn",
    "self_attention.linear_proj": "attn.c_proj",
    "pre_mlp_layernorm": "ln_2",
    FC1: "mlp.c_fc",
    "mlp.linear_fc2": "mlp.c_proj",
}


class Gpt2:
    """Conversion of a Megatron model to `GPT2LMHeadModel`."""

    def fits(self, args: MegatronArgs) -> bool:
        """Return True if GPT-2 computes the same as this model."""
        return (
            args.position == "learned_absolute"
            and args.norm == "LayerNorm"
            and not args.gated
            and not args.qk_norm
            and args.heads * args.head_dim == args.hidden
        )

    def config(self, args: MegatronArgs, vocabulary: int) -> PretrainedConfig:
        """Return the config of the module."""
        return GPT2Config(
            architectures=["GPT2LMHeadModel"],
            vocab_size=vocabulary,
            n_positions=args.context,
            n_embd=args.hidden,
            n_layer=args.layers,
            n_head=args.heads,
            n_inner=args.ffn,
            activation_function=args.activation,
            layer_norm_epsilon=args.norm_epsilon,
            tie_word_embeddings=args.tied,
            dtype=args.dtype,
            bos_token_id=None,
            eos_token_id=None,
        )

    def tensors(
        self, args: MegatronArgs, name: str, tensor: torch.Tensor
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Return the module's tensors for one tensor of the model; linear layers are transposed in GPT-2."""
        if args.norm_plus_one and "layernorm" in name and name.endswith(".weight"):
            tensor = tensor.float() + 1
        found = layer_name(name)
        if found is None:
            yield _OUTSIDE[name], tensor
            return
        part, _, kind = found.name.rpartition(".")
        if part == QKV and args.groups < args.heads:
            tensor = _for_each_head(tensor, args)
        yield (
            f"transformer.h.{found.layer}.{_INSIDE[part]}.{kind}",
            tensor.t() if tensor.ndim == 2 else tensor,
        )

    def additions(self, args: MegatronArgs) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the biases that only the module has: zeros."""
        dtype = getattr(torch, args.dtype)
        missing = {QKV: 3 * args.hidden} if not args.qkv_bias else {}
        if not args.bias:
            missing |= {
                "self_attention.linear_proj": args.hidden,
                FC1: args.ffn,
                "mlp.linear_fc2": args.hidden,
            }
        for layer in range(args.layers):
            for part, size in missing.items():
                yield f"transformer.h.{layer}.{_INSIDE[part]}.bias", torch.zeros(size, dtype=dtype)


def _for_each_head(tensor: torch.Tensor, args: MegatronArgs) -> torch.Tensor:
    """Return [queries; keys; values] with a copy of its group's keys and values for each head."""
    queries, *shared = split_qkv(tensor, args)
    copies = [
        part.reshape(args.groups, args.head_dim, *part.shape[1:])
        .repeat_interleave(args.heads // args.groups, dim=0)
        .reshape(queries.shape)
        for part in shared
    ]
    return torch.cat([queries, *copies])
