"""The live model computes what `AutoModelForCausalLM.from_pretrained` does, checkpoint after checkpoint."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from milepost.errors import CheckpointError
from milepost.weights import LiveModel, read_checkpoint

TOKENS = torch.arange(3, 51).reshape(2, 24)
BASE = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 64,
}  # fmt: skip
GPT = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
FEW = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2}
CONFIGS = {
    "llama": ("LlamaConfig", BASE | {"num_key_value_heads": 2}),
    "llama, tied": ("LlamaConfig", BASE | {"tie_word_embeddings": True}),
    "gpt2": ("GPT2Config", GPT),
    "gpt_neox": ("GPTNeoXConfig", BASE),
    "qwen2": ("Qwen2Config", BASE | {"num_key_value_heads": 2}),
    "mistral": ("MistralConfig", BASE | {"num_key_value_heads": 2, "sliding_window": 16}),
    "mixtral": ("MixtralConfig", BASE | {"num_key_value_heads": 2, "num_local_experts": 4}),
    "gemma": ("GemmaConfig", BASE | {"num_key_value_heads": 1, "head_dim": 8}),
    "opt": ("OPTConfig", FEW | {"num_attention_heads": 4, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "bloom": ("BloomConfig", {"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "falcon": ("FalconConfig", FEW | {"num_attention_heads": 4}),
    "mamba": ("MambaConfig", FEW | {"state_size": 4}),
    "olmo2": ("Olmo2Config", BASE),
}
CONVERTED = {"mixtral"}
"""transformers fuses tensors, so that each checkpoint passes through a second module."""


def logits(module: Any) -> Any:
    with torch.inference_mode():
        return module(TOKENS).logits.float()


def save(folder: Path, config: Any, seed: int) -> Any:
    """A model whose every parameter is random, norms and biases too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_each_checkpoint_copied_in_gives_the_logits_of_a_fresh_load(tmp_path: Path, name: str) -> None:
    kind, values = CONFIGS[name]
    config = getattr(transformers, kind)(**values)
    folders = [save(tmp_path / str(seed), config, seed) for seed in (1, 2)]
    read = [read_checkpoint(folder, "safetensors") for folder in folders]
    for dtype in ("float32", "bfloat16"):
        fresh = [logits(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)) for folder in folders]
        assert (fresh[0] - fresh[1]).abs().max() > 0.1
        live = LiveModel.build(read[0], dtype=dtype)
        assert bool(live.direct_tensors(read[0])) is (name not in CONVERTED)
        assert str(live.module.dtype) == f"torch.{dtype}"
        for i in (0, 1, 0):
            live.copy_from(read[i])
            assert (logits(live.module) - fresh[i]).abs().max() < 1e-5


def test_real_checkpoints_give_their_reference_logits(shared: Path) -> None:
    runs = shared / "checkpoints" / "hf"
    reference = load_file(runs / "trainer_llama.reference.safetensors")
    sharded = load_file(runs / "sharded_llama.reference.safetensors")["logits/checkpoint-30"]
    live = None
    for step in (10, 20, 30, 10):
        weights = read_checkpoint(runs / "trainer_llama" / f"checkpoint-{step}", "safetensors")
        if live is None:
            live = LiveModel.build(weights, dtype="float32")
        live.copy_from(weights)
        with torch.inference_mode():
            found = live.module(reference["input_ids"]).logits
        assert (found - reference[f"logits/checkpoint-{step}"]).abs().max() < 1e-5
    live.copy_from(read_checkpoint(runs / "sharded_llama" / "checkpoint-30", "safetensors"))
    with torch.inference_mode():
        assert (live.module(reference["input_ids"]).logits - sharded).abs().max() < 1e-5
    assert (live.vocab_size, live.n_parameters, live.max_length(None)) == (256, 87120, 64)


def test_the_module_is_ready_for_inference_and_shares_no_memory_with_what_was_read(tiny_run: Path) -> None:
    first = read_checkpoint(tiny_run / "checkpoint-10", "safetensors")
    before = {name: tensor.clone() for name, tensor in first.tensors.items()}
    live = LiveModel.build(first)
    module = live.module
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    live.copy_from(read_checkpoint(tiny_run / "checkpoint-20", "safetensors"))
    assert live.module is module
    assert all(torch.equal(first.tensors[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_memory_does_not_grow_with_the_number_of_checkpoints(tmp_path: Path, kind: str) -> Any:
    config_class, values = CONFIGS[kind]
    folder = save(tmp_path / "m", getattr(transformers, config_class)(**values), 0)
    live = LiveModel.build(read_checkpoint(folder, "safetensors"))

    def tensors_alive() -> Any:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    live.copy_from(read_checkpoint(folder, "safetensors"))
    before = tensors_alive()
    for _ in range(3):
        live.copy_from(read_checkpoint(folder, "safetensors"))
    assert tensors_alive() == before


def test_a_checkpoint_that_does_not_fit_is_told_why_and_changes_nothing(
    tiny_run: Path, tmp_path: Path
) -> Any:
    live = LiveModel.build(read_checkpoint(tiny_run / "checkpoint-10", "safetensors"))
    before = logits(live.module)

    def refused(name: str, **config: Any) -> Any:
        folder = tmp_path / name
        shutil.copytree(tiny_run / "checkpoint-20", folder)
        told = json.loads((folder / "config.json").read_text()) | config
        (folder / "config.json").write_text(json.dumps(told))
        weights = read_checkpoint(folder, "safetensors")
        with pytest.raises(CheckpointError):
            live.copy_from(weights)
        return live.accepts(weights)

    assert refused("a", rms_norm_eps=0.5) == "its config has another rms_norm_eps"
    assert refused("b", dtype="bfloat16") == "its dtype is bfloat16, not float32"
    weights = read_checkpoint(tiny_run / "checkpoint-20", "safetensors")
    assert live.accepts(weights) is None
    lost = weights.tensors.pop("model.norm.weight")
    assert live.accepts(weights) == "model.norm.weight is in only one of the two checkpoints"
    weights.tensors["model.norm.weight"] = lost[:3]
    assert live.accepts(weights) == f"model.norm.weight has the shape [3], not [{len(lost)}]"
    assert torch.equal(logits(live.module), before)


def test_weights_that_are_tied_by_value_are_not_copied_over_when_they_part(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**BASE, tie_word_embeddings=True)
    folders = [save(tmp_path / str(seed), config, seed) for seed in (1, 2)]
    for folder, head in zip(folders, (0, 1), strict=True):
        tensors = load_file(folder / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + head
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    read = [read_checkpoint(folder, "safetensors") for folder in folders]
    live = LiveModel.build(read[0])
    assert "now differ" in live.accepts(read[1])
    other = LiveModel.build(read[1])
    fresh = logits(AutoModelForCausalLM.from_pretrained(folders[1]))
    assert (logits(other.module) - fresh).abs().max() < 1e-5


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Any:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def build_with(folder: Path, *, without: Any = (), **more: Any) -> Any:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if name not in without}
    save_file(kept | more, folder / "model.safetensors", metadata={"format": "pt"})
    return LiveModel.build(read_checkpoint(folder, "safetensors"))


def test_a_missing_weight_is_an_error_and_never_random(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks weights .*: model\.norm\.weight$"):
        build_with(folder, without=["model.norm.weight"])


def test_a_weight_that_the_config_does_not_know_is_an_error(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not know: lm_head\.bias$"):
        build_with(folder, **{"lm_head.bias": torch.ones(2)})


def test_masks_and_rotary_tables_of_old_checkpoints_are_left_out(folder: Path) -> None:
    expected = logits(LiveModel.build(read_checkpoint(folder, "safetensors")).module)
    old = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    live = build_with(folder, **old)
    assert live.direct_tensors(read_checkpoint(folder, "safetensors"))
    assert torch.equal(logits(live.module), expected)


def test_a_weight_of_another_shape_is_named(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has the shape \[3\], not \[64\]"):
        build_with(folder, without=["model.norm.weight"], **{"model.norm.weight": torch.ones(3)})


def test_a_checkpoint_without_the_bodys_prefix_is_copied_directly(tmp_path: Path) -> None:
    config = transformers.GPT2Config(**GPT)
    folder = save(tmp_path / "m", config, 0)
    tensors = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    weights = read_checkpoint(folder, "safetensors")
    live = LiveModel.build(weights)
    assert live.direct_tensors(weights)
    fresh = AutoModelForCausalLM.from_pretrained(folder)
    live.copy_from(weights)
    assert torch.equal(logits(live.module), logits(fresh))
