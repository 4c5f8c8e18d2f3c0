"""PEFT adapters: merged in memory over a base that is read once; what cannot be merged is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    IA3Config,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from milepost.sources import Overrides, discover, fetch, identify, tokenizer_location
from milepost.types.checkpoints import Checkpoint
from milepost.weights import Bases, LiveModel, read_checkpoint
from tests.sources.folders import refusal_of
from tests.weights.hostile import Command
from tests.weights.references import TOLERANCE, largest_differences

TOKENS = torch.arange(2, 26).reshape(2, 12)


@pytest.fixture
def base(tiny_llama: Path, tmp_path: Path) -> Any:
    """A base of its own, in a folder `base` beside the runs."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "base"))


def adapt(base: Path, folder: Path, seed: int = 0, **options: object) -> torch.Tensor:
    """Write an adapter of random weights that names `../base`; the logits of peft's own unmerged model."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]} | options
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(task_type=TaskType.CAUSAL_LM, **settings)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name or "lora_embedding_B" in name:
                    parameter.normal_(std=0.2)
    model.peft_config["default"].base_model_name_or_path = "../base"
    model.save_pretrained(folder)
    model.eval()
    with torch.no_grad():
        return model(TOKENS).logits


def base_of(adapter: Checkpoint) -> Checkpoint:
    assert adapter.base is not None
    return adapter.base


def read(folder: Path, bases: Bases, cache: Path) -> Any:
    (checkpoint,) = discover(str(folder)).checkpoints
    assert checkpoint.problem is None, checkpoint.problem
    sums = {file.name: file.sha256 for file in identify(checkpoint, cache).files}
    return read_checkpoint(
        fetch(checkpoint), checkpoint.format, sums, base=bases.of(base_of(checkpoint), cache)
    )


def edit(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_logits_are_those_of_the_live_training(shared: Path, tmp_path: Path) -> None:
    run = shared / "checkpoints/hf/trainer_llama_lora"
    found = largest_differences(run, run.with_suffix(".reference.safetensors"), tmp_path)
    assert found.keys() == {"checkpoint-10", "checkpoint-20", "checkpoint-30"}
    assert max(found.values()) < TOLERANCE


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True, "bias": "lora_only"},
        {"target_modules": ["embed_tokens", "v_proj"]},
        {"target_modules": "all-linear", "rank_pattern": {"q_proj": 2}},
        {"modules_to_save": ["norm"]},
    ],
)
def test_every_kind_of_lora_is_merged_as_peft_computes_it(base: Path, tmp_path: Path, options: Any) -> None:
    expected = adapt(base, tmp_path / "run/checkpoint-10", **options)
    model = LiveModel.build(read(tmp_path / "run/checkpoint-10", Bases(), tmp_path), dtype="float32")
    with torch.no_grad():
        logits = model.module(TOKENS).logits
    assert (logits - expected).abs().max() < TOLERANCE * expected.abs().max()


def test_the_base_is_read_once_for_a_series_and_no_adapter_changes_it(base: Path, tmp_path: Path) -> None:
    expected = {n: adapt(base, tmp_path / f"run/checkpoint-{n}", seed=n) for n in (1, 2)}
    bases, model = Bases(), None
    for n in (1, 2, 1):
        weights = read(tmp_path / f"run/checkpoint-{n}", bases, tmp_path)
        model = model or LiveModel.build(weights, dtype="float32")
        assert model.accepts(weights) is None
        model.copy_from(weights)
        with torch.no_grad():
            assert torch.allclose(model.module(TOKENS).logits, expected[n], atol=1e-4)
    assert bases.n_read == 1


def test_what_an_adapter_leaves_alone_shares_the_bases_memory(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "run/checkpoint-1")
    bases = Bases()
    weights = read(tmp_path / "run/checkpoint-1", bases, tmp_path)
    (checkpoint,) = discover(str(tmp_path / "run")).checkpoints
    own = bases.of(base_of(checkpoint), tmp_path).module.state_dict()
    moved = {name for name, tensor in weights.tensors.items() if tensor.data_ptr() != own[name].data_ptr()}
    assert moved == {name for name in own if "q_proj" in name or "down_proj" in name}


def test_the_same_adapter_over_another_base_is_another_model(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "run/checkpoint-1")
    (before,) = discover(str(tmp_path / "run")).checkpoints
    first = identify(before, tmp_path / "cache").model_id
    tensors = load_file(base / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, base / "model.safetensors")
    assert identify(before, tmp_path / "cache").model_id != first


def test_the_base_can_be_given(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "run/checkpoint-1")
    other = base.rename(tmp_path / "elsewhere")
    (lost,) = discover(str(tmp_path / "run")).checkpoints
    assert "its base cannot be used" in lost.problem
    assert "--base" in lost.problem
    (found,) = discover(str(tmp_path / "run"), None, Overrides(base=str(other))).checkpoints
    assert found.problem is None
    assert found.base.location == other


def test_the_tokenizer_of_the_base_serves_adapters_without_one(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "run/checkpoint-1")
    (checkpoint,) = discover(str(tmp_path / "run")).checkpoints
    assert tokenizer_location(checkpoint) == base


def test_code_in_an_adapter_is_not_run(base: Path, tmp_path: Path) -> None:
    folder, mark = tmp_path / "run/checkpoint-1", tmp_path / "mark"
    adapt(base, folder)
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"base_model.model.x": Command(mark)}, folder / "adapter_model.bin")
    refusal = refusal_of(lambda: read(folder, Bases(), tmp_path))
    assert "adapter_model.bin asks to run code" in refusal.message
    assert not mark.exists()


def test_an_adapter_in_the_older_file_is_read(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run/checkpoint-1"
    adapt(base, folder)
    expected = read(folder, Bases(), tmp_path).tensors
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    found = read(folder, Bases(), tmp_path).tensors
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "asks peft to import modules"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING cannot be merged"),
        ({"peft_type": "XLORA"}, "XLORA cannot be merged"),
        ({"init_lora_weights": "corda"}, "began with a changed base"),
        ({"r": 10**9}, "no tensor has the rank"),
        ({"r": 8}, "does not fit its base"),
        ({"target_modules": ["nothing"]}, "does not fit its base"),
        ({"target_modules": ["q_proj"]}, "has weights that its base has no place for"),
        ({"target_modules": ["q_proj", "down_proj", "up_proj"]}, "lacks weights that its config needs"),
    ],
)
def test_settings_that_cannot_be_merged_are_refused_by_name(
    base: Path, tmp_path: Path, changes: Any, words: str
) -> None:
    folder = tmp_path / "run/checkpoint-1"
    adapt(base, folder)
    edit(folder, **changes)
    refusal = refusal_of(lambda: read(folder, Bases(), tmp_path))
    assert words in refusal.message
    assert str(folder) in refusal.message


def test_an_adapter_for_another_shape_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run/checkpoint-1"
    adapt(base, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({name: tensor[..., :2].contiguous() for name, tensor in tensors.items()},
              folder / "adapter_model.safetensors")  # fmt: skip
    assert "does not fit its base" in refusal_of(lambda: read(folder, Bases(), tmp_path)).message


def test_a_half_written_adapter_is_incomplete(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "run/checkpoint-1")
    adapt(base, tmp_path / "run/checkpoint-2")
    (tmp_path / "run/checkpoint-2/adapter_model.safetensors").unlink()
    problems = [one.problem for one in discover(str(tmp_path / "run")).checkpoints]
    assert problems == [None, "missing: adapter_model.safetensors"]


def test_a_base_that_is_an_adapter_itself_is_refused(base: Path, tmp_path: Path) -> None:
    adapt(base, tmp_path / "run/checkpoint-1")
    adapt(base, tmp_path / "other")
    found = discover(str(tmp_path / "run"), None, Overrides(base=str(tmp_path / "other"))).checkpoints
    assert "is an adapter itself" in found[0].problem


def test_prompt_tuning_as_peft_writes_it_is_refused_by_name(base: Path, tmp_path: Path) -> None:
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    model.save_pretrained(tmp_path / "run/checkpoint-1")
    edit(tmp_path / "run/checkpoint-1", base_model_name_or_path="../base")
    refusal = refusal_of(lambda: read(tmp_path / "run/checkpoint-1", Bases(), tmp_path))
    assert "PROMPT_TUNING cannot be merged" in refusal.message


@pytest.mark.parametrize(
    "settings",
    [
        IA3Config(
            target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
        ),
        LoHaConfig(target_modules=["q_proj", "up_proj"], init_weights=False),
        LoKrConfig(target_modules=["q_proj", "up_proj"], init_weights=False),
        OFTConfig(target_modules=["q_proj", "up_proj"], oft_block_size=16, init_weights=False),
    ],
    ids=lambda settings: settings.peft_type.value,
)
def test_other_kinds_of_adapters_are_merged_and_leave_the_base_as_it_was(
    base: Path, tmp_path: Path, settings: Any
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings.task_type = TaskType.CAUSAL_LM
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).eval()
    model.peft_config["default"].base_model_name_or_path = "../base"
    model.save_pretrained(tmp_path / "run/checkpoint-1")
    bases = Bases()
    weights = read(tmp_path / "run/checkpoint-1", bases, tmp_path)
    live = LiveModel.build(weights, dtype="float32")
    with torch.no_grad():
        expected, logits = model(TOKENS).logits, live.module(TOKENS).logits
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()
    (checkpoint,) = discover(str(tmp_path / "run")).checkpoints
    own = bases.of(base_of(checkpoint), tmp_path).module.state_dict()
    saved = load_file(base / "model.safetensors")
    assert all(torch.equal(own[name], tensor) for name, tensor in saved.items())
