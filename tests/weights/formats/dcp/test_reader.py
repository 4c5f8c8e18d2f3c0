"""Language models out of DCP folders: the logits their trainers saw, wherever in the checkpoint they lie."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import checkpoint as dcp
from transformers import LlamaConfig, LlamaForCausalLM

from milepost.sources import discover
from milepost.weights import read_checkpoint
from milepost.weights.formats.dcp.find_model import find_model
from tests.sources.folders import refusal_of
from tests.weights.references import TOLERANCE, largest_differences

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")

EXPECTED = {"model.embed.weight", "model.norm.weight", "lm_head.weight"}


@pytest.mark.parametrize("run", ["dcp_hf_llama", "dcp_fsdp2_hf_llama"])
def test_logits_are_those_of_the_trainer(shared: Path, tmp_path: Path, run: Path) -> None:
    folder = shared / "checkpoints/dcp" / run
    found = largest_differences(folder, folder.with_suffix(".reference.safetensors"), tmp_path)
    assert found.keys() == {"step-20", "step-40"}
    assert max(found.values()) < TOLERANCE


@pytest.mark.parametrize(
    "prefix", ["", "model.", "app.model.", "state.train.module.", "_orig_mod.", "model._orig_mod."]
)
def test_the_model_is_found_under_any_prefix(prefix: str) -> None:
    names = [f"{prefix}{name}" for name in EXPECTED]
    others = [f"optimizer.state.{name}.exp_avg" for name in EXPECTED] + ["step", "lr_scheduler.last"]
    assert find_model("x", [*names, *others], EXPECTED) == {name: f"{prefix}{name}" for name in EXPECTED}


def test_optimizer_state_under_the_weights_own_names_is_not_taken_for_them() -> None:
    names = [f"optimizer.exp_avg.{name}" for name in EXPECTED] + [f"m.{name}" for name in EXPECTED]
    assert set(find_model("x", names, EXPECTED).values()) == {f"m.{name}" for name in EXPECTED}


def test_weights_go_before_their_moving_average() -> None:
    names = [f"{part}.{name}" for part in ("ema_model", "model") for name in EXPECTED]
    assert set(find_model("x", names, EXPECTED).values()) == {f"model.{name}" for name in EXPECTED}


def test_two_models_in_one_checkpoint_are_refused_by_name() -> None:
    names = [f"{part}.{name}" for part in ("student", "teacher") for name in EXPECTED]
    refusal = refusal_of(lambda: find_model("x", names, EXPECTED))
    assert "student." in refusal.message
    assert "teacher." in refusal.message


def test_a_checkpoint_of_another_model_is_refused() -> None:
    assert "none of the weights" in refusal_of(lambda: find_model("x", ["a.b"], EXPECTED)).message


def small(*, tied: bool) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def save(run: Path, state: Any, config: Any, name: str = "step-1") -> Any:
    dcp.save(state, checkpoint_id=run / name, no_dist=True)
    config.save_pretrained(run)
    return run / name


def test_tied_copies_that_differ_are_refused(tmp_path: Path) -> None:
    model = small(tied=True)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folder = save(tmp_path, {"model": state}, model.config)
    assert read_checkpoint(folder, "dcp").tensors.keys() == state.keys()
    state["lm_head.weight"][0, 0] += 1
    folder = save(tmp_path, {"model": state}, model.config, "step-2")
    refusal = refusal_of(lambda: read_checkpoint(folder, "dcp"))
    assert "model.embed_tokens.weight and lm_head.weight are one weight" in refusal.message


def test_bfloat16_weights_stay_so(tmp_path: Path) -> None:
    model = small(tied=False).to(torch.bfloat16)
    folder = save(tmp_path, {"model": model.state_dict()}, model.config)
    weights = read_checkpoint(folder, "dcp")
    assert all(torch.equal(weights.tensors[name], own) for name, own in model.state_dict().items())


def test_a_sharded_checkpoint_of_transformers_trainer_is_found_in_its_own_subfolder(tmp_path: Path) -> None:
    model = small(tied=False)
    folder = tmp_path / "run" / "checkpoint-10"
    save(folder, {"model": model.state_dict()}, model.config, "pytorch_model_fsdp_0")
    (folder / "trainer_state.json").write_text("{}")
    (found,) = discover(str(tmp_path / "run")).checkpoints
    assert (found.name, found.step, found.format, found.problem) == ("checkpoint-10", 10, "dcp", None)
    weights = read_checkpoint(folder, "dcp")
    assert all(torch.equal(weights.tensors[name], own) for name, own in model.state_dict().items())


def test_a_save_that_is_not_finished_is_incomplete_and_the_others_are_not(
    shared: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(shared / "checkpoints/dcp/dcp_fsdp2_hf_llama", tmp_path / "run")
    (run / "step-40/.metadata").unlink()  # it is written last
    shutil.copytree(run / "step-20", run / "step-60")
    (run / "step-60/__1_0.distcp").unlink()
    shutil.copytree(run / "step-20", run / "step-80")
    with (run / "step-80/__0_0.distcp").open("r+b") as file:
        file.truncate(1000)
    problems = {one.name: one.problem for one in discover(str(run)).checkpoints}
    assert problems["step-20"] is None
    assert ".metadata is missing" in problems["step-40"]
    assert problems["step-60"] == "missing: __1_0.distcp"
    assert "__0_0.distcp is cut short" in problems["step-80"]
