"""Tiny random causal LMs of many architectures, and random requests for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from milepost.types.sequences import Scores, Sequences

VOCAB = 97
SMALL = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None,
}  # fmt: skip
NO_KV = {key: value for key, value in SMALL.items() if key != "num_key_value_heads"}
OLD = {"vocab_size": VOCAB, "hidden_size": 32, "bos_token_id": 0, "eos_token_id": 1}
GEMMA = SMALL | {"head_dim": 16, "num_hidden_layers": 3, "sliding_window": 12, "query_pre_attn_scalar": 24}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", SMALL),
    "qwen2": ("Qwen2Config", SMALL),
    "qwen3": ("Qwen3Config", SMALL | {"head_dim": 16}),
    "mistral": ("MistralConfig", SMALL | {"sliding_window": None}),
    "mistral with a window": ("MistralConfig", SMALL | {"sliding_window": 12}),
    # Before 5.23, transformers chose sdpa by itself, which leaves out the softcap.
    "gemma2": (
        "Gemma2Config",
        GEMMA
        | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "attn_implementation": "eager"},
    ),
    "gemma3": ("Gemma3TextConfig", GEMMA),
    "phi3": ("Phi3Config", SMALL),
    "olmo2": ("Olmo2Config", SMALL),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 1024} | OLD,
    ),
    "gpt_neox": ("GPTNeoXConfig", NO_KV),
    "gpt_neo": (
        "GPTNeoConfig",
        OLD | {"num_layers": 2, "num_heads": 4, "window_size": 12, "max_position_embeddings": 1024,
               "attention_types": [[["global", "local"], 1]]},
    ),
    "opt": (
        "OPTConfig",
        OLD | {"ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 2,
               "max_position_embeddings": 1024, "word_embed_proj_dim": 24},
    ),
    "bloom": ("BloomConfig", OLD | {"n_layer": 2, "n_head": 4}),
    "falcon": ("FalconConfig", OLD | {"num_hidden_layers": 2, "num_attention_heads": 4}),
    "granite": (
        "GraniteConfig",
        SMALL | {"attention_multiplier": 0.7, "logits_scaling": 3.0, "embedding_multiplier": 2.0,
                 "residual_multiplier": 0.5},
    ),
    "cohere": ("CohereConfig", SMALL | {"logit_scale": 0.3}),
    "mixtral": (
        "MixtralConfig",
        SMALL | {"num_local_experts": 3, "num_experts_per_tok": 2, "sliding_window": None},
    ),
    "mamba2": (
        "Mamba2Config",
        OLD | {"num_hidden_layers": 2, "num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1,
               "chunk_size": 16},
    ),
}  # fmt: skip


def tiny_model(architecture: str, seed: int = 0) -> torch.nn.Module:
    """Return a model whose logits differ so much between positions that a wrong mask or position shows."""
    config_class, settings = CONFIGS[architecture]
    config = getattr(transformers, config_class)(**settings)
    torch.manual_seed(seed)
    model: torch.nn.Module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "conv" not in name:
                parameter.normal_(0, 0.25)
    return model.eval()


def pack_up(items: list[tuple[list[int], int]]) -> Sequences:
    """Return `Sequences` of (token ids, number of targets) pairs."""
    lengths = [len(tokens) for tokens, _ in items]
    return Sequences(
        tokens=np.array([token for tokens, _ in items for token in tokens], dtype=np.int32),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        n_targets=np.array([n for _, n in items], dtype=np.int32),
    )


def random_requests(seed: int = 0, n: int = 24, longest: int = 60) -> Sequences:
    """Return requests like those of tasks: few-shot prefixes, choices after one context, duplicates."""
    random = np.random.default_rng(seed)

    def some(low: int, high: int) -> list[int]:
        return [int(token) for token in random.integers(3, VOCAB, random.integers(low, high))]

    items: list[tuple[list[int], int]] = []
    prefixes = [some(longest // 2, longest), some(4, 9), [0]]
    for _ in range(n // 4):
        context = prefixes[random.integers(len(prefixes))] + some(1, longest // 3)
        for _ in range(4):
            continuation = some(1, 6)
            items.append((context + continuation, len(continuation)))
    items.append(items[0])
    items.append((items[1][0], 1))
    items.append((items[1][0], len(items[1][0]) - 1))
    items.append(([5, 6], 1))
    return pack_up(items)


def close(a: Scores, b: Scores, tolerance: float = 1e-4) -> None:
    """Check that log-likelihoods differ by no more, and that greedy flags are equal."""
    np.testing.assert_allclose(a.loglikelihood, b.loglikelihood, atol=tolerance, rtol=0)
    np.testing.assert_array_equal(a.greedy, b.greedy)
