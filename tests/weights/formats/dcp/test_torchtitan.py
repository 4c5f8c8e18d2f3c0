"""torchtitan's checkpoints and arguments, as transformers' Llama."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import SourceError
from milepost.sources import Overrides, discover
from milepost.weights import read_config
from milepost.weights.formats.dcp.torchtitan import names_for_transformers
from tests.sources.folders import refusal_of
from tests.weights.references import TOLERANCE, largest_differences

ARGUMENTS = {"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 128256,
             "ffn_dim_multiplier": 1.3, "multiple_of": 1024, "rope_theta": 500000}  # fmt: skip
"""Llama 3 8B, as torchtitan's own table of models has it."""
LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 256, "hidden_size": 48,
    "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "tie_word_embeddings": False,
}  # fmt: skip
SCALED = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}  # fmt: skip


@pytest.fixture
def differences(shared: Path, tmp_path: Path) -> Any:
    """A function from a config to the largest difference of each of the run's checkpoints."""
    run = shared / "checkpoints/dcp/torchtitan_llama3"

    def measured(config: Any) -> Any:
        path = tmp_path / "any name.json"
        path.write_text(json.dumps(config))
        reference = run.with_suffix(".reference.safetensors")
        return largest_differences(run / "checkpoint", reference, tmp_path, Overrides(config=path))

    return measured


def test_its_own_arguments_serve_as_config(shared: Path, differences: Any) -> None:
    told = json.loads((shared / "checkpoints/dcp/torchtitan_llama3.reference.json").read_text())
    found = differences(told["model_args"])
    assert found.keys() == {"step-50", "step-100"}
    assert max(found.values()) < TOLERANCE


def test_a_config_of_transformers_serves_too(differences: Any) -> None:
    assert max(differences({**LLAMA, "rope_parameters": SCALED}).values()) < TOLERANCE


def test_a_config_that_is_silent_about_rotary_scaling_gets_torchtitans(differences: Any) -> None:
    assert max(differences(LLAMA).values()) < TOLERANCE


def test_a_config_that_rules_scaling_out_is_believed(differences: Any) -> None:
    unscaled = {**LLAMA, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
    assert min(differences(unscaled).values()) > TOLERANCE


def test_a_config_that_contradicts_the_shapes_is_refused(differences: Any) -> None:
    refusal = refusal_of(lambda: differences({**LLAMA, "num_key_value_heads": 4}))
    assert "does not fit its config" in refusal.message
    assert "k_proj" in refusal.message


def test_without_a_config_the_checkpoint_is_incomplete_and_told_what_to_do(shared: Path) -> None:
    found = discover(str(shared / "checkpoints/dcp/torchtitan_llama3/checkpoint"))
    assert [one.format for one in found.checkpoints] == ["torchtitan"] * 2
    assert all("--config" in one.problem for one in found.checkpoints)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_config_that_is_none_is_refused_before_anything_else(
    shared: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(SourceError, match=r"--config: .*c\.json"):
        discover(str(shared / "checkpoints/dcp"), None, Overrides(config=tmp_path / "c.json"))


def test_arguments_become_the_shape_of_llama_3_8b(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text(json.dumps(ARGUMENTS))
    config = read_config(tmp_path, "torchtitan", tmp_path / "args.json")
    assert (config.intermediate_size, config.num_key_value_heads, config.hidden_size) == (14336, 8, 4096)
    assert config.rope_parameters["rope_type"] == "llama3"
    assert config.rope_parameters["rope_theta"] == 500000


def test_the_folder_of_a_run_is_enough_and_names_the_series(shared: Path) -> None:
    run = shared / "checkpoints/dcp/torchtitan_llama3"
    series = discover(str(run))
    assert [one.name for one in series.checkpoints] == ["step-50", "step-100"]
    assert {series.name, discover(str(run / "checkpoint")).name} == {"torchtitan_llama3"}


def test_a_missing_argument_is_named(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text(json.dumps({"dim": 8, "n_layers": 2, "n_heads": 2}))
    refusal = refusal_of(lambda: read_config(tmp_path, "torchtitan", tmp_path / "args.json"))
    assert "vocab_size" in refusal.message


def test_names_of_version_0_3_are_known() -> None:
    assert names_for_transformers(["layers.7.attention.qkv_linear.wq.weight", "lm_head.weight", "other"]) == {
        "layers.7.attention.qkv_linear.wq.weight": "model.layers.7.self_attn.q_proj.weight",
        "lm_head.weight": "lm_head.weight",
    }
