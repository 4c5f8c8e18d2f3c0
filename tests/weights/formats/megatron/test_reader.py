"""Checkpoints of Megatron-LM give the logits that Megatron-LM gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from milepost.errors import CheckpointError
from milepost.sources.formats.megatron.metadata import read_rank_file
from milepost.weights.checkpoint import read_checkpoint
from milepost.weights.checkpoint_weights import CheckpointWeights
from milepost.weights.module import load_module
from milepost.weights.torch_tensors import open_archive
from tests.weights.formats.megatron.made import (
    GPT2,
    LLAMA,
    Tensors,
    logits,
    made_args,
    random_model,
    write_legacy,
    write_torch_dist,
)

IDS = torch.arange(40).view(2, 20) % 60
TOLERANCE = 1e-5


def read(folder: Path) -> CheckpointWeights:
    return read_checkpoint(folder, "megatron-dist" if (folder / "common.pt").exists() else "megatron")


def computed(folder: Path, ids: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Architecture and logits of a checkpoint, through the loading that every run does."""
    module = load_module(read(folder), "float32")
    with torch.no_grad():
        return type(module).__name__, module(ids).logits


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((found - expected).abs().max() <= TOLERANCE)


def shared_runs(shared: Path) -> list[dict[str, Any]]:
    index = json.loads((shared / "checkpoints" / "index.json").read_text())
    return [run for run in index if run["format"].startswith("megatron")]


def test_every_shared_checkpoint_gives_the_logits_of_its_training(shared: Path) -> None:
    seen = 0
    for run in shared_runs(shared):
        reference = load_file(shared / "checkpoints" / run["reference"])
        for name in run["checkpoints"]:
            _, found = computed(shared / "checkpoints" / run["path"] / name, reference["input_ids"])
            assert close(found, reference[f"logits/{name}"]), (run["path"], name)
            seen += 1
    assert seen >= 32


@pytest.mark.parametrize("run", ["gpt2_legacy_tp1", "llama_legacy_tp1"])
def test_the_tests_own_forward_pass_is_megatrons(shared: Path, run: str) -> None:
    folder = shared / "checkpoints" / "megatron"
    reference = load_file(folder / f"{run}.reference.safetensors")
    args, tensors = whole_model(folder / run)
    assert close(logits(args, tensors, reference["input_ids"]), reference["logits/iter_0000060"])


def whole_model(run: Path) -> tuple[dict[str, Any], Tensors]:
    """Args and tensors of a shared run that is not split."""
    path = run / "iter_0000060" / "mp_rank_00" / "model_optim_rng.pt"
    rank = read_rank_file(path)
    with open_archive(path) as archive:
        tensors = {name: archive.read(stored) for name, stored in rank.chunks[0].items()}
    args = {**rank.settings.args, "params_dtype": torch.float32}
    return {name: value for name, value in args.items() if isinstance(value, (int, float, str))} | {
        "params_dtype": torch.float32
    }, tensors


LAYOUTS: dict[str, dict[str, Any]] = {
    "tp2": {"tp": 2},
    "pp4": {"stages": [[1], [1], [1], [1]]},
    "tp2 pp2": {"tp": 2, "stages": [[2], [2]]},
    "tp2 pp2 vpp2": {"tp": 2, "stages": [[1, 1], [1, 1]]},
    "pp2 vpp2 te names": {"stages": [[1, 1], [1, 1]], "te_names": True},
    "te names": {"te_names": True},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("style", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_a_model_is_the_same_however_it_was_split(tmp_path: Path, style: Any, layout: dict[str, Any]) -> None:
    args = made_args(style)
    tensors = random_model(args)
    folder = write_legacy(tmp_path, args, tensors, **layout)
    assert close(computed(folder, IDS)[1], logits(args, tensors, IDS))


UNEVEN: dict[str, tuple[dict[str, Any], list[list[int]]]] = {
    "first stage": ({"decoder_first_pipeline_num_layers": 1}, [[1], [5]]),
    "first and last": (
        {"decoder_first_pipeline_num_layers": 1, "decoder_last_pipeline_num_layers": 1},
        [[1], [4], [1]],
    ),
    "last, virtual": ({"decoder_last_pipeline_num_layers": 2}, [[2, 2], [1, 1]]),
    "embedding and loss count": (
        {"account_for_embedding_in_pipeline_split": True, "account_for_loss_in_pipeline_split": True},
        [[1], [2], [2], [1]],
    ),
    "by hand": ({"pipeline_model_parallel_layout": "Ettt|t|ttL"}, [[3], [1], [2]]),
}


@pytest.mark.parametrize(("uneven", "stages"), UNEVEN.values(), ids=UNEVEN.keys())
def test_uneven_pipeline_stages_are_read_from_the_args(
    tmp_path: Path, uneven: dict[str, Any], stages: list[list[int]]
) -> None:
    args = made_args(num_layers=6, **uneven)
    tensors = random_model(args)
    folder = write_legacy(tmp_path, args, tensors, tp=2, stages=stages)
    assert close(computed(folder, IDS)[1], logits(args, tensors, IDS))


def test_stages_that_the_args_do_not_explain_are_refused(tmp_path: Path) -> None:
    args = made_args(num_layers=6)
    folder = write_legacy(tmp_path, args, random_model(args), stages=[[2], [4]])
    with pytest.raises(CheckpointError, match="pipeline stage 0 has 2 layers, its args give it 3"):
        read(folder)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {}),
    "llama, tied": ("LlamaForCausalLM", {"untie_embeddings_and_output_weights": False}),
    "llama, qkv bias": ("LlamaForCausalLM", {"add_qkv_bias": True}),
    "llama, all biases": ("LlamaForCausalLM", {"add_bias_linear": True}),
    "llama, multi-head": ("LlamaForCausalLM", {"group_query_attention": False}),
    "llama, one group": ("LlamaForCausalLM", {"num_query_groups": 1}),
    "llama, wide heads": ("LlamaForCausalLM", {"kv_channels": 16}),
    "llama, norms less one": ("LlamaForCausalLM", {"layernorm_zero_centered_gamma": True}),
    "llama, rotary base": ("LlamaForCausalLM", {"rotary_base": 500000}),
    "partial rotary": ("GlmForCausalLM", {"rotary_percent": 0.5}),
    "partial rotary, qkv bias": ("GlmForCausalLM", {"rotary_percent": 0.25, "add_qkv_bias": True}),
    "query and key norms": ("Qwen3ForCausalLM", {"qk_layernorm": True}),
    "plain mlp": ("ArceeForCausalLM", {"swiglu": False, "squared_relu": True}),
    "plain mlp, gelu, biases": ("ArceeForCausalLM", {"swiglu": False, "add_bias_linear": True}),
    "layer norm, plain mlp": ("NemotronForCausalLM", {"normalization": "LayerNorm", "swiglu": False}),
    "layer norm less one, relu squared": (
        "NemotronForCausalLM",
        {
            "normalization": "LayerNorm",
            "swiglu": False,
            "squared_relu": True,
            "layernorm_zero_centered_gamma": True,
            "rotary_percent": 0.5,
            "add_bias_linear": True,
        },
    ),
    "layer norm, gate": ("StableLmForCausalLM", {"normalization": "LayerNorm", "rotary_percent": 0.5}),
    "gpt-2": ("GPT2LMHeadModel", dict(GPT2)),
    "gpt-2, erf gelu": ("GPT2LMHeadModel", {**GPT2, "bias_gelu_fusion": False}),
    "gpt-2, untied": ("GPT2LMHeadModel", {**GPT2, "untie_embeddings_and_output_weights": True}),
    "gpt-2, groups": (
        "GPT2LMHeadModel",
        {**GPT2, "group_query_attention": True, "num_query_groups": 2},
    ),
    "gpt-2, no biases": ("GPT2LMHeadModel", {**GPT2, "add_bias_linear": False, "bias_gelu_fusion": False}),
    "gpt-2, norms less one": ("GPT2LMHeadModel", {**GPT2, "layernorm_zero_centered_gamma": True}),
}


@pytest.mark.parametrize(("architecture", "changes"), KINDS.values(), ids=KINDS.keys())
def test_each_kind_of_model_gets_an_architecture_that_computes_it(
    tmp_path: Path, architecture: str, changes: dict[str, Any]
) -> None:
    args = made_args(**changes)
    tensors = random_model(args)
    groups = args["num_query_groups"] if args["group_query_attention"] else args["num_attention_heads"]
    folder = write_legacy(tmp_path, args, tensors, tp=2 if groups % 2 == 0 else 1)
    name, found = computed(folder, IDS)
    assert name == architecture
    assert close(found, logits(args, tensors, IDS))


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "layer by layer"])
@pytest.mark.parametrize("style", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_the_torch_dist_layout_is_read(tmp_path: Path, style: Any, stacked: bool) -> None:
    args = made_args(style)
    tensors = random_model(args)
    folder = write_torch_dist(tmp_path, args, tensors, stacked=stacked)
    assert close(computed(folder, IDS)[1], logits(args, tensors, IDS))


def test_bfloat16_weights_stay_what_they_are(tmp_path: Path) -> None:
    args = made_args(params_dtype=torch.bfloat16)
    tensors = random_model(args)
    folder = write_legacy(tmp_path, args, tensors, tp=2)
    model = read(folder)
    assert model.config.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in model.tensors.values()} == {torch.bfloat16}
    assert close(computed(folder, IDS)[1], logits(args, tensors, IDS))


def test_parameters_that_are_views_of_one_buffer_are_read_from_their_places(tmp_path: Path) -> None:
    """A distributed optimizer keeps them like this; the file then has the buffer once."""
    args = made_args()
    tensors = random_model(args)
    buffer = torch.cat([tensor.reshape(-1) for tensor in tensors.values()])
    views, begin = {}, 0
    for name, tensor in tensors.items():
        views[name] = buffer[begin : begin + tensor.numel()].view(tensor.shape)
        begin += tensor.numel()
    folder = write_legacy(tmp_path, args, views)
    assert close(computed(folder, IDS)[1], logits(args, tensors, IDS))


REFUSED: dict[str, dict[str, Any]] = {
    "num_experts": {"num_experts": 8},
    "multi_latent_attention": {"multi_latent_attention": True},
    "mtp_num_layers": {"mtp_num_layers": 1},
    "window_size": {"window_size": (128, 0)},
    "rotary_interleaved": {"rotary_interleaved": True},
    "rotary_percent": {"rotary_percent": 0.1},
    "position_embedding_type": {"position_embedding_type": "alibi"},
    "num_layers": {"num_layers": "four"},
    "num_query_groups": {"num_query_groups": 3},
    "normalization": {"normalization": "BatchNorm"},
}


@pytest.mark.parametrize(("reason", "changes"), REFUSED.items(), ids=REFUSED.keys())
def test_args_that_ask_for_more_than_can_be_computed_are_refused_by_name(
    tmp_path: Path, reason: str, changes: dict[str, Any]
) -> None:
    args = made_args()
    folder = write_legacy(tmp_path, args, random_model(args))
    spoil_args(folder, changes)
    with pytest.raises(CheckpointError, match=f"its args have {reason} = "):
        read(folder)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("learned positions, RMSNorm", {"position_embedding_type": "learned_absolute"}),
        ("4 of 8 dimensions rotated, .* biases", {"rotary_percent": 0.5, "add_bias_linear": True}),
    ],
)
def test_a_model_without_an_architecture_is_refused_with_what_it_is(
    tmp_path: Path, reason: str, changes: dict[str, Any]
) -> None:
    args = made_args(**changes)
    folder = write_legacy(tmp_path, args, random_model(args))
    with pytest.raises(CheckpointError, match=f"no architecture of transformers computes .*{reason}"):
        read(folder)


def spoil_args(folder: Path, changes: dict[str, Any]) -> None:
    for path in folder.glob("mp_rank_*/*.pt"):
        content = torch.load(path, weights_only=False)
        vars(content["args"]).update(changes)
        torch.save(content, path)
