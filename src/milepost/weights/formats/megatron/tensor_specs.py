"""List every tensor of a Megatron model: name, shape, and how ranks split it.

All checkpoints get one naming: that of the local layers, with each layer's number in the whole model. Names
of Transformer Engine, which folds a norm into the linear layer behind it, are converted when they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from milepost.weights.formats.megatron.args import MegatronArgs

EMBEDDING = "embedding.word_embeddings.weight"
POSITIONS = "embedding.position_embeddings.weight"
OUTPUT = "output_layer.weight"
QKV = "self_attention.linear_qkv"
FC1 = "mlp.linear_fc1"
_FOLDED = {
    f"{QKV}.layer_norm_weight": "input_layernorm.weight",
    f"{QKV}.layer_norm_bias": "input_layernorm.bias",
    f"{FC1}.layer_norm_weight": "pre_mlp_layernorm.weight",
    f"{FC1}.layer_norm_bias": "pre_mlp_layernorm.bias",
}
_LAYER = re.compile(r"decoder\.layers\.(\d+)\.(.+)")
_ALL_LAYERS = re.compile(r"decoder\.layers\.([^\d].*)")


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of the whole model."""

    shape: tuple[int, ...]
    split: int | None = None
    """The dimension that is split over tensor-parallel ranks; None if each rank has the whole tensor."""
    halves: int = 1
    """2 if each rank has a part of two tensors, one after the other (gate and up)."""
    grouped: bool = False
    """True if the rows are queries, keys and values: all heads one after the other in this model's tensors,
    group by group in the files.
    """

    def on_rank(self, n_tensor: int) -> tuple[int, ...]:
        """Return the shape of one rank's part."""
        return tuple(n // n_tensor if i == self.split else n for i, n in enumerate(self.shape))

    def divides(self, n_tensor: int) -> bool:
        """Return True if this number of ranks can share the tensor evenly."""
        return self.split is None or self.shape[self.split] % (n_tensor * self.halves) == 0


@dataclass(frozen=True, slots=True)
class LayerName:
    """A tensor of one layer (or, with `layer` None, of all of them in one), by its local name."""

    layer: int | None
    name: str


def layer_name(key: str) -> LayerName | None:
    """Return the layer and tensor that a name in a file means; None for tensors outside the layers."""
    if match := _LAYER.fullmatch(key):
        return LayerName(int(match[1]), _FOLDED.get(match[2], match[2]))
    if match := _ALL_LAYERS.fullmatch(key):
        return LayerName(None, _FOLDED.get(match[1], match[1]))
    return None


def in_layer(layer: int, name: str) -> str:
    """Return the name of a layer's tensor in the whole model."""
    return f"decoder.layers.{layer}.{name}"


def layer_slots(args: MegatronArgs) -> dict[str, Slot]:
    """Return the tensors of a layer, by their names inside it."""
    hidden, width = args.hidden, args.heads * args.head_dim
    qkv = width + 2 * args.groups * args.head_dim
    halves = 2 if args.gated else 1
    slots = {
        f"{QKV}.weight": Slot((qkv, hidden), 0, grouped=True),
        "self_attention.linear_proj.weight": Slot((hidden, width), 1),
        f"{FC1}.weight": Slot((halves * args.ffn, hidden), 0, halves),
        "mlp.linear_fc2.weight": Slot((hidden, args.ffn), 1),
        **_norm("input_layernorm", hidden, args),
        **_norm("pre_mlp_layernorm", hidden, args),
    }
    if args.qk_norm:
        slots |= _norm("self_attention.q_layernorm", args.head_dim, args)
        slots |= _norm("self_attention.k_layernorm", args.head_dim, args)
    if args.qkv_bias:
        slots[f"{QKV}.bias"] = Slot((qkv,), 0, grouped=True)
    if args.bias:
        slots["self_attention.linear_proj.bias"] = Slot((hidden,))
        slots[f"{FC1}.bias"] = Slot((halves * args.ffn,), 0, halves)
        slots["mlp.linear_fc2.bias"] = Slot((hidden,))
    return slots


def model_slots(args: MegatronArgs, vocabulary: int) -> dict[str, Slot]:
    """Return all tensors of the model by name.

    Args:
        vocabulary: rows of the embedding, padding included.
    """
    slots = {EMBEDDING: Slot((vocabulary, args.hidden), 0)}
    if args.position == "learned_absolute":
        slots[POSITIONS] = Slot((args.context, args.hidden))
    own = layer_slots(args)
    for layer in range(args.layers):
        slots |= {in_layer(layer, name): slot for name, slot in own.items()}
    slots |= _norm("decoder.final_layernorm", args.hidden, args)
    if not args.tied:
        slots[OUTPUT] = Slot((vocabulary, args.hidden), 0)
    return slots


def _norm(name: str, size: int, args: MegatronArgs) -> dict[str, Slot]:
    return dict(_norm_parts(name, size, args))


def _norm_parts(name: str, size: int, args: MegatronArgs) -> Iterator[tuple[str, Slot]]:
    yield f"{name}.weight", Slot((size,))
    if args.norm == "LayerNorm":
        yield f"{name}.bias", Slot((size,))
