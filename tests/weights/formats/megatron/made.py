"""Checkpoints of Megatron-LM made from scratch: its arguments, its files, and what such a model computes.

The forward pass is written from megatron-core's own modules and not from the code under test; a test compares
it with the logits that Megatron-LM gave.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.nn import functional

Tensors = dict[str, torch.Tensor]

LLAMA: Mapping[str, Any] = {
    "num_layers": 4,
    "hidden_size": 32,
    "ffn_hidden_size": 48,
    "num_attention_heads": 4,
    "kv_channels": 8,
    "group_query_attention": True,
    "num_query_groups": 2,
    "max_position_embeddings": 32,
    "padded_vocab_size": 64,
    "position_embedding_type": "rope",
    "rotary_percent": 1.0,
    "rotary_base": 10000,
    "normalization": "RMSNorm",
    "layernorm_epsilon": 1e-6,
    "swiglu": True,
    "squared_relu": False,
    "add_bias_linear": False,
    "add_qkv_bias": False,
    "bias_gelu_fusion": False,
    "qk_layernorm": False,
    "layernorm_zero_centered_gamma": False,
    "untie_embeddings_and_output_weights": True,
    "params_dtype": torch.float32,
    "tokenizer_type": "NullTokenizer",
}
GPT2: Mapping[str, Any] = {
    **LLAMA,
    "group_query_attention": False,
    "num_query_groups": 1,
    "position_embedding_type": "learned_absolute",
    "normalization": "LayerNorm",
    "layernorm_epsilon": 1e-5,
    "swiglu": False,
    "add_bias_linear": True,
    "bias_gelu_fusion": True,
    "untie_embeddings_and_output_weights": False,
}
_SPLIT_ROWS = ("linear_qkv.weight", "linear_qkv.bias", "linear_fc1.weight", "linear_fc1.bias")
_SPLIT_COLUMNS = ("linear_proj.weight", "linear_fc2.weight")
_VOCABULARY = ("embedding.word_embeddings.weight", "output_layer.weight")
_TE_NAMES = {
    "input_layernorm.": "self_attention.linear_qkv.layer_norm_",
    "pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_",
}


def made_args(style: Mapping[str, Any] = LLAMA, **changes: Any) -> dict[str, Any]:
    return {**style, **changes}


def _groups(args: Mapping[str, Any]) -> int:
    return args["num_query_groups"] if args["group_query_attention"] else args["num_attention_heads"]


def random_model(args: Mapping[str, Any], seed: int = 0) -> Tensors:
    """The whole model by local names; norms and biases are random too, so that they count."""
    generator = torch.Generator().manual_seed(seed)
    hidden, ffn, size = args["hidden_size"], args["ffn_hidden_size"], args["kv_channels"]
    width = args["num_attention_heads"] * size
    fc1 = 2 * ffn if args["swiglu"] else ffn
    qkv = width + 2 * _groups(args) * size
    tensors: Tensors = {}

    def add(name: str, *shape: int, about: float = 0.0) -> None:
        value = about + 0.15 * torch.randn(*shape, generator=generator)
        tensors[name] = value.to(args["params_dtype"])

    def add_norm(name: str, n: int) -> None:
        add(f"{name}.weight", n, about=0.0 if args["layernorm_zero_centered_gamma"] else 1.0)
        if args["normalization"] == "LayerNorm":
            add(f"{name}.bias", n)

    add("embedding.word_embeddings.weight", args["padded_vocab_size"], hidden)
    if args["position_embedding_type"] == "learned_absolute":
        add("embedding.position_embeddings.weight", args["max_position_embeddings"], hidden)
    for number in range(args["num_layers"]):
        layer = f"decoder.layers.{number}"
        add_norm(f"{layer}.input_layernorm", hidden)
        add(f"{layer}.self_attention.linear_qkv.weight", qkv, hidden)
        add(f"{layer}.self_attention.linear_proj.weight", hidden, width)
        if args["qk_layernorm"]:
            add_norm(f"{layer}.self_attention.q_layernorm", size)
            add_norm(f"{layer}.self_attention.k_layernorm", size)
        add_norm(f"{layer}.pre_mlp_layernorm", hidden)
        add(f"{layer}.mlp.linear_fc1.weight", fc1, hidden)
        add(f"{layer}.mlp.linear_fc2.weight", hidden, ffn)
        if args["add_bias_linear"] or args["add_qkv_bias"]:
            add(f"{layer}.self_attention.linear_qkv.bias", qkv)
        if args["add_bias_linear"]:
            add(f"{layer}.self_attention.linear_proj.bias", hidden)
            add(f"{layer}.mlp.linear_fc1.bias", fc1)
            add(f"{layer}.mlp.linear_fc2.bias", hidden)
    add_norm("decoder.final_layernorm", hidden)
    if args["untie_embeddings_and_output_weights"]:
        add("output_layer.weight", args["padded_vocab_size"], hidden)
    return tensors


def logits(args: Mapping[str, Any], tensors: Tensors, ids: torch.Tensor) -> torch.Tensor:
    """Compute Megatron's GPTModel in float32: [batch, length] to [batch, length, vocabulary]."""
    model = {name: tensor.float() for name, tensor in tensors.items()}
    hidden = model["embedding.word_embeddings.weight"][ids]
    if args["position_embedding_type"] == "learned_absolute":
        hidden = hidden + model["embedding.position_embeddings.weight"][: ids.shape[1]]
    for number in range(args["num_layers"]):
        prefix = f"decoder.layers.{number}."
        layer = {name.removeprefix(prefix): tensor for name, tensor in model.items() if prefix in name}
        hidden = hidden + _attention(args, layer, _norm(args, layer, "input_layernorm", hidden))
        hidden = hidden + _mlp(args, layer, _norm(args, layer, "pre_mlp_layernorm", hidden))
    hidden = _norm(args, model, "decoder.final_layernorm", hidden)
    output = model.get("output_layer.weight", model["embedding.word_embeddings.weight"])
    return hidden @ output.t()


def _norm(args: Mapping[str, Any], model: Tensors, name: str, values: torch.Tensor) -> torch.Tensor:
    weight = model[f"{name}.weight"] + (1 if args["layernorm_zero_centered_gamma"] else 0)
    epsilon = args["layernorm_epsilon"]
    if args["normalization"] == "LayerNorm":
        return functional.layer_norm(values, weight.shape, weight, model[f"{name}.bias"], epsilon)
    return values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def _linear(model: Tensors, name: str, values: torch.Tensor) -> torch.Tensor:
    return functional.linear(values, model[f"{name}.weight"], model.get(f"{name}.bias"))


def _attention(args: Mapping[str, Any], layer: Tensors, values: torch.Tensor) -> torch.Tensor:
    batch, length, _ = values.shape
    groups, size = _groups(args), args["kv_channels"]
    share = args["num_attention_heads"] // groups
    mixed = _linear(layer, "self_attention.linear_qkv", values)
    mixed = mixed.view(batch, length, groups, (share + 2) * size)
    query, key, value = mixed.split([share * size, size, size], dim=-1)
    query = query.reshape(batch, length, groups * share, size)
    if args["qk_layernorm"]:
        query = _norm(args, layer, "self_attention.q_layernorm", query)
        key = _norm(args, layer, "self_attention.k_layernorm", key)
    if args["position_embedding_type"] == "rope":
        query, key = _rotated(args, query), _rotated(args, key)
    key, value = (one.repeat_interleave(share, dim=2) for one in (key, value))
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / size**0.5
    masked = scores.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    context = torch.einsum("bhqk,bkhd->bqhd", masked.softmax(-1), value)
    return _linear(layer, "self_attention.linear_proj", context.reshape(batch, length, -1))


def _rotated(args: Mapping[str, Any], values: torch.Tensor) -> torch.Tensor:
    """The first part of each head is rotated, its first half against its second."""
    size = int(args["kv_channels"] * args["rotary_percent"])
    inverse = 1.0 / args["rotary_base"] ** (torch.arange(0, size, 2).float() / size)
    angles = torch.outer(torch.arange(values.shape[1]).float(), inverse)
    angles = torch.cat([angles, angles], dim=-1)[None, :, None, :]
    turned, kept = values[..., :size], values[..., size:]
    first, second = turned.chunk(2, dim=-1)
    against = torch.cat([-second, first], dim=-1)
    return torch.cat([turned * angles.cos() + against * angles.sin(), kept], dim=-1)


def _mlp(args: Mapping[str, Any], layer: Tensors, values: torch.Tensor) -> torch.Tensor:
    inner = _linear(layer, "mlp.linear_fc1", values)
    if args["swiglu"]:
        gate, up = inner.chunk(2, dim=-1)
        inner = functional.silu(gate) * up
    elif args["squared_relu"]:
        inner = functional.relu(inner) ** 2
    else:
        inner = functional.gelu(inner, approximate="tanh" if args["bias_gelu_fusion"] else "none")
    return _linear(layer, "mlp.linear_fc2", inner)


def write_legacy(
    folder: Path,
    args: Mapping[str, Any],
    tensors: Tensors,
    *,
    tp: int = 1,
    stages: list[list[int]] | None = None,
    te_names: bool = False,
    iteration: int = 10,
    **more: Any,
) -> Path:
    """Write `iter_N/mp_rank_*` as Megatron-LM splits a model; returns the checkpoint's folder.

    Args:
        stages: layers of each chunk, by pipeline stage and round of the virtual pipeline.
        more: further entries of each file (`optimizer`).
    """
    stages = stages or [[args["num_layers"]]]
    pp, turns = len(stages), len(stages[0])
    own = {
        **args,
        "tensor_model_parallel_size": tp,
        "pipeline_model_parallel_size": pp,
        "virtual_pipeline_model_parallel_size": turns if turns > 1 else None,
    }
    place = folder / f"iter_{iteration:07d}"
    chunks = _chunks(args, tensors, stages)
    for stage in range(pp):
        for rank in range(tp):
            name = f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if pp > 1 else "")
            path = place / name / "model_optim_rng.pt"
            path.parent.mkdir(parents=True)
            models = [_of_rank(args, chunk, rank, tp, te_names) for chunk in chunks[stage]]
            keys = ["model"] if turns == 1 else [f"model{turn}" for turn in range(turns)]
            torch.save(
                {
                    "args": argparse.Namespace(**own),
                    "checkpoint_version": 3.0,
                    "iteration": iteration,
                    **dict(zip(keys, models, strict=True)),
                    **more,
                },
                path,
            )
    (folder / "latest_checkpointed_iteration.txt").write_text(str(iteration))
    return place


def _chunks(args: Mapping[str, Any], tensors: Tensors, stages: list[list[int]]) -> list[list[Tensors]]:
    """Return the layers by stage and round, each counted from 0."""
    pp, turns = len(stages), len(stages[0])
    chunks: list[list[Tensors]] = [[{} for _ in range(turns)] for _ in range(pp)]
    first = 0
    for turn in range(turns):
        for stage in range(pp):
            for number in range(stages[stage][turn]):
                old = f"decoder.layers.{first + number}."
                chunks[stage][turn] |= {
                    name.replace(old, f"decoder.layers.{number}."): tensor
                    for name, tensor in tensors.items()
                    if name.startswith(old)
                }
            first += stages[stage][turn]
    assert first == args["num_layers"]
    head = {name: tensor for name, tensor in tensors.items() if name.startswith("embedding.")}
    tail = {name: tensor for name, tensor in tensors.items() if name.startswith(("decoder.final", "output_"))}
    chunks[0][0] |= head
    chunks[-1][-1] |= tail
    if pp > 1 and not args["untie_embeddings_and_output_weights"]:
        chunks[-1][-1]["output_layer.weight"] = tensors["embedding.word_embeddings.weight"].clone()
    return chunks


def _of_rank(args: Mapping[str, Any], chunk: Tensors, rank: int, tp: int, te_names: bool) -> dict[str, Any]:
    """Return one rank's part: views, as training keeps parameters, and byte entries."""
    own: dict[str, Any] = {}
    for name, tensor in chunk.items():
        if name.endswith(_SPLIT_ROWS) and "fc1" in name and args["swiglu"]:
            gate, up = tensor.chunk(2)
            part = torch.cat([gate.chunk(tp)[rank], up.chunk(tp)[rank]])
        elif name.endswith((*_SPLIT_ROWS, *_VOCABULARY)):
            part = tensor.chunk(tp)[rank].clone()
        elif name.endswith(_SPLIT_COLUMNS):
            part = tensor.chunk(tp, dim=1)[rank].contiguous()
        else:
            part = tensor
        own[_te_name(name) if te_names else name] = part
        if name.endswith("linear_qkv.weight"):
            own[name.replace(".weight", "._extra_state")] = (
                torch.zeros(4, dtype=torch.uint8) if te_names else None
            )
    return own


def _te_name(name: str) -> str:
    for local, folded in _TE_NAMES.items():
        name = name.replace(local, folded)
    return name


def write_torch_dist(
    folder: Path, args: Mapping[str, Any], tensors: Tensors, *, stacked: bool = True, iteration: int = 10
) -> Path:
    """Write `iter_N/` in the torch_dist layout from one process; returns the checkpoint's folder."""
    place = folder / f"iter_{iteration:07d}"
    layers: dict[str, list[torch.Tensor]] = {}
    state: Tensors = {}
    for name, tensor in tensors.items():
        parts = name.split(".", 3)
        if name.startswith("decoder.layers.") and stacked:
            layers.setdefault(f"decoder.layers.{_te_name(parts[3])}", []).append(tensor)
        else:
            state[_te_name(name)] = tensor
    state |= {name: torch.stack(own) for name, own in layers.items()}
    dcp.save({**state, "optimizer.state.exp_avg": torch.zeros(8)}, checkpoint_id=place, no_dist=True)
    own_args = {**args, "tensor_model_parallel_size": 1, "pipeline_model_parallel_size": 1}
    common = {"args": argparse.Namespace(**own_args), "checkpoint_version": 3.0, "iteration": iteration}
    torch.save(common, place / "common.pt")
    (place / "metadata.json").write_text('{"sharded_backend": "torch_dist", "sharded_backend_version": 1}')
    (folder / "latest_checkpointed_iteration.txt").write_text(str(iteration))
    return place
