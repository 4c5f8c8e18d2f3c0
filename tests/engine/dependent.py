"""Tiny models whose results can depend on the rest of a batch, on padding, or on earlier batches."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from tests.engine.models import OLD, SMALL, VOCAB

SWITCH = 32
"""Tokens up to which the positions of those that change are the usual ones."""
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 4,
    "long_factor": [1.0, 3.0, 6.0, 9.0], "original_max_position_embeddings": SWITCH,
}  # fmt: skip
SHORT = SMALL | {"max_position_embeddings": 128}
EXPERTS = SHORT | {"num_local_experts": 3, "num_experts_per_tok": 2}
MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "phi3 longrope": (
        "Phi3Config", SHORT | {"original_max_position_embeddings": SWITCH, "rope_parameters": LONGROPE}
    ),
    "phimoe longrope": (
        "PhimoeConfig",
        EXPERTS | {"original_max_position_embeddings": SWITCH,
                   "rope_parameters": LONGROPE | {"short_mscale": 1.0, "long_mscale": 1.2}},
    ),
    "llama longrope": ("LlamaConfig", SHORT | {"rope_parameters": LONGROPE}),
    "llama dynamic": (
        "LlamaConfig",
        SHORT | {"max_position_embeddings": SWITCH,
                 "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}},
    ),
    "minimax": (
        "MiniMaxConfig",
        EXPERTS | {"block_size": 16, "head_dim": 8, "layer_types": ["linear_attention", "full_attention"]},
    ),
    "mamba": ("MambaConfig", OLD | {"num_hidden_layers": 2, "state_size": 8}),
    "jamba": (
        "JambaConfig",
        SHORT | {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "num_experts": 2,
                 "mamba_d_state": 8, "use_mamba_kernels": False},
    ),
    "bamba": ("BambaConfig", SHORT | MAMBA | {"num_hidden_layers": 3, "attn_layer_indices": [1]}),
    "granitemoehybrid": (
        "GraniteMoeHybridConfig",
        EXPERTS | MAMBA | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 32},
    ),
    "qwen3_next": (
        "Qwen3NextConfig",
        SHORT | {"num_hidden_layers": 4, "head_dim": 16, "linear_num_key_heads": 2,
                 "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
                 "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
                 "shared_expert_intermediate_size": 24},
    ),
    "rwkv": (
        "RwkvConfig",
        {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "context_length": 128,
         "attention_hidden_size": 32, "intermediate_size": 48},
    ),
    "granitemoe": ("GraniteMoeConfig", EXPERTS),
    "llama4": (
        "Llama4TextConfig",
        SHORT | {"head_dim": 8, "attention_chunk_size": 16, "num_local_experts": 2, "num_hidden_layers": 4,
                 "intermediate_size_mlp": 48},
    ),
}  # fmt: skip


def dependent_model(architecture: str, seed: int = 0) -> Any:
    """Return a model with weights so large that a wrong position or state shows."""
    config_class, settings = CONFIGS[architecture]
    config = getattr(transformers, config_class)(**settings)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "conv" not in name and "A_log" not in name:
                parameter.normal_(0, 0.25)
    return model.eval()
