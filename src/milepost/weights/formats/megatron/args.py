"""Read Megatron-LM's arguments: the model's shape, the parts of its layers, how it was split.

Every argument that changes the computation is either supported or refused by name, never ignored. Names and
defaults: megatron/training/arguments.py of core_v0.16.1; entries that older versions did not write have the
values of these versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from milepost.errors import CheckpointError
from milepost.sources.formats.megatron.metadata import Settings
from milepost.text.messages import shown

_MAX = 1 << 31
_UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "num_experts": (None, 0, 1),
    "multi_latent_attention": (None, False),
    "mtp_num_layers": (None, 0),
    "heterogeneous_layers_config_path": (None,),
    "heterogeneous_layers_config_encoded_json": (None,),
    "is_hybrid_model": (None, False),
    "hybrid_override_pattern": (None,),
    "experimental_attention_variant": (None,),
    "linear_attention_freq": (None,),
    "window_size": (None,),
    "softmax_type": (None, "vanilla"),
    "attention_output_gate": (None, False),
    "apply_residual_connection_post_layernorm": (None, False),
    "rotary_interleaved": (None, False),
    "no_rope_freq": (None,),
    "mrope_section": (None,),
    "qk_l2_norm": (None, False),
    "quick_geglu": (None, False),
    "openai_gelu": (None, False),
    "activation_func_clamp_value": (None,),
    "glu_linear_offset": (None, 0, 0.0),
    "expert_model_parallel_size": (None, 1),
    "spec": (None,),
}
"""Arguments of features that are not supported, with the values that switch the feature off."""

Position = Literal["rope", "learned_absolute"]
Norm = Literal["LayerNorm", "RMSNorm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MegatronArgs:
    """A GPT model of megatron-core; equal for all ranks of a checkpoint."""

    layers: int
    hidden: int
    ffn: int
    """Width of the MLP; with a gate, of each of its halves."""
    heads: int
    groups: int
    """Heads of keys and values."""
    head_dim: int
    context: int
    padded_vocabulary: int | None
    """None if the arguments do not name it."""
    position: Position
    rotary_dim: int
    """Number of rotated dimensions per head; all unless `rotary_percent` is below 1."""
    rotary_base: float
    llama3_scaling: float | None
    """Factor of Llama 3.1's scaling of the frequencies (with its other constants: 1, 4, 8192)."""
    linear_scaling: float | None
    """Factor by which positions are divided."""
    norm: Norm
    norm_epsilon: float
    norm_plus_one: bool
    """True if the weights of norms are stored minus one."""
    qk_norm: bool
    gated: bool
    activation: str
    """The name in transformers."""
    bias: bool
    """True if every linear layer has a bias."""
    qkv_bias: bool
    tied: bool
    dtype: str
    n_tensor: int
    n_pipeline: int
    n_virtual: int | None
    """Chunks of layers per pipeline stage; None without virtual pipeline."""
    first_stage: int | None
    last_stage: int | None
    """Layers of the first and last stage where these differ from the others."""
    embedding_counts: bool
    loss_counts: bool
    """True if embedding and loss count as a layer when the layers are distributed."""
    own_split: bool
    """True if the stages are given by hand (`pipeline_model_parallel_layout`)."""


def parse_args(settings: Settings) -> MegatronArgs:
    """Return the arguments of a checkpoint.

    Raises:
        CheckpointError: an argument is missing, of the wrong type, or not supported.
    """
    args = _Arguments(settings)
    for name, allowed in _UNSUPPORTED.items():
        if args.get(name) not in allowed:
            raise args.refusal(name)
    heads, hidden = args.count("num_attention_heads"), args.count("hidden_size")
    gated = args.flag("swiglu")
    head_dim = args.count("kv_channels", hidden // heads)
    bias = args.flag("add_bias_linear", True)
    groups = args.count("num_query_groups") if args.flag("group_query_attention") else heads
    if heads % groups:
        raise args.refusal("num_query_groups")
    return MegatronArgs(
        layers=args.count("num_layers"),
        hidden=hidden,
        ffn=args.count("ffn_hidden_size", 4 * hidden),
        heads=heads,
        groups=groups,
        head_dim=head_dim,
        context=args.count("max_position_embeddings"),
        padded_vocabulary=args.optional_count("padded_vocab_size"),
        position=_position(args),
        rotary_dim=_rotary_dim(args, head_dim),
        rotary_base=args.number("rotary_base", 10000),
        llama3_scaling=args.number("rope_scaling_factor", 8.0) if args.flag("use_rope_scaling") else None,
        linear_scaling=args.optional_number("rotary_seq_len_interpolation_factor"),
        norm=_norm(args),
        norm_epsilon=args.number("layernorm_epsilon", 1e-5),
        norm_plus_one=args.flag("apply_layernorm_1p") or args.flag("layernorm_zero_centered_gamma"),
        qk_norm=args.flag("qk_layernorm"),
        gated=gated,
        activation=_activation(args, gated=gated, bias=bias),
        bias=bias,
        qkv_bias=bias or args.flag("add_qkv_bias"),
        tied=not args.flag("untie_embeddings_and_output_weights"),
        dtype=_dtype(args),
        n_tensor=args.count("tensor_model_parallel_size", 1),
        n_pipeline=args.count("pipeline_model_parallel_size", 1),
        n_virtual=args.optional_count("virtual_pipeline_model_parallel_size"),
        first_stage=args.optional_count("decoder_first_pipeline_num_layers"),
        last_stage=args.optional_count("decoder_last_pipeline_num_layers"),
        embedding_counts=args.flag("account_for_embedding_in_pipeline_split"),
        loss_counts=args.flag("account_for_loss_in_pipeline_split"),
        own_split=args.get("pipeline_model_parallel_layout") is not None,
    )


def _position(args: _Arguments) -> Position:
    kind = args.get("position_embedding_type", "learned_absolute")
    if kind == "rope" or args.flag("use_rotary_position_embeddings"):
        return "rope"
    if kind != "learned_absolute" or not args.flag("add_position_embedding", True):
        raise args.refusal("position_embedding_type")
    return "learned_absolute"


def _rotary_dim(args: _Arguments, head_dim: int) -> int:
    """Return the rotary dimension, as in megatron/core/models/common/embeddings/rotary_pos_embedding.py."""
    percent = args.number("rotary_percent", 1.0)
    if not 0 < percent <= 1:
        raise args.refusal("rotary_percent")
    rotated = int(head_dim * percent)
    if rotated % 2 or not rotated:
        raise args.refusal("rotary_percent")
    return rotated


def _norm(args: _Arguments) -> Norm:
    kind = args.get("normalization", "LayerNorm")
    if kind not in ("LayerNorm", "RMSNorm"):
        raise args.refusal("normalization")
    norm: Norm = kind
    return norm


def _activation(args: _Arguments, *, gated: bool, bias: bool) -> str:
    """Return transformers' name of the activation.

    The fused gelu is the tanh form, the plain one erf (megatron/core/fusions/fused_bias_gelu.py).
    """
    if gated:
        return "silu"
    if args.flag("squared_relu"):
        return "relu2"
    if args.flag("use_te_activation_func"):
        raise args.refusal("use_te_activation_func")
    return "gelu_new" if bias and args.flag("bias_gelu_fusion") else "gelu"


def _dtype(args: _Arguments) -> str:
    dtype = args.get("params_dtype", "float32")
    if dtype not in ("float32", "float16", "bfloat16"):
        raise args.refusal("params_dtype")
    return str(dtype)


@dataclass(frozen=True, slots=True)
class _Arguments:
    """Typed access to the arguments."""

    settings: Settings

    def get(self, name: str, default: Any = None) -> Any:
        value = self.settings.args.get(name)
        return default if value is None else value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.get(name, default)
        if type(value) is not bool:
            raise self.refusal(name)
        return value

    def count(self, name: str, default: int | None = None) -> int:
        value = self.get(name, default)
        if type(value) is not int or not 0 < value < _MAX:
            raise self.refusal(name)
        return value

    def optional_count(self, name: str) -> int | None:
        return None if self.get(name) is None else self.count(name)

    def number(self, name: str, default: float) -> float:
        value = self.get(name, default)
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise self.refusal(name)
        return float(value)

    def optional_number(self, name: str) -> float | None:
        return None if self.get(name) is None else self.number(name, 1.0)

    def refusal(self, name: str) -> CheckpointError:
        value = self.settings.args.get(name, "missing")
        return CheckpointError(
            f"{shown(self.settings.path)}: its args have {name} = {shown(value)}, which is not supported"
        )
