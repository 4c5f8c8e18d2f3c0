"""Names that wrappers left behind, tensors without a place in the model, classes of one's own."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from milepost.weights import LiveModel, read_checkpoint, read_config
from tests.sources.folders import refusal_of

TOKENS = torch.arange(2, 26).reshape(2, 12)
Tensors = dict[str, torch.Tensor]


def with_tensors(source: Path, folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of a model whose tensors are changed."""
    shutil.copytree(source, folder)
    save_file(
        {
            name: tensor.contiguous()
            for name, tensor in change(load_file(folder / "model.safetensors")).items()
        },
        folder / "model.safetensors",
        {"format": "pt"},
    )
    return folder


def logits(folder: Path) -> torch.Tensor:
    model = LiveModel.build(read_checkpoint(folder, "safetensors"), dtype="float32")
    with torch.no_grad():
        found: torch.Tensor = model.module(TOKENS).logits
    return found


@pytest.mark.parametrize(
    "rename",
    [
        "_orig_mod.{}".format,
        "module.{}".format,
        "module._orig_mod.{}".format,
        "_orig_mod.module.{}".format,
        "module.module.{}".format,
        "_fsdp_wrapped_module.{}".format,
        "_forward_module.{}".format,
        lambda name: "_fsdp_wrapped_module." + name.replace("self_attn.", "_fsdp_wrapped_module.self_attn."),
        lambda name: name.replace(".mlp.", "._orig_mod.mlp."),
        lambda name: "module." + name.replace(".mlp.", ".mlp._checkpoint_wrapped_module."),
    ],
)
def test_wrappers_are_left_out_of_names_and_it_is_said(
    tiny_llama: Path, tmp_path: Path, rename: Callable[[str], str]
) -> None:
    folder = with_tensors(
        tiny_llama, tmp_path / "m", lambda tensors: {rename(name): t for name, t in tensors.items()}
    )
    weights = read_checkpoint(folder, "safetensors")
    assert [text for text in weights.warnings if "a wrapper's" in text]
    assert torch.equal(logits(folder), logits(tiny_llama))


def test_names_that_would_become_one_are_left_as_they_are(tiny_llama: Path, tmp_path: Path) -> None:
    folder = with_tensors(
        tiny_llama, tmp_path / "m", lambda t: t | {f"module.{name}": one + 1 for name, one in t.items()}
    )
    assert len(read_checkpoint(folder, "safetensors").tensors) == 2 * len(
        load_file(tiny_llama / "model.safetensors")
    )


HARMLESS = [
    "v_head.summary.weight",
    "score.weight",
    "reward_head.0.weight",
    "medusa_head.1.0.linear.weight",
    "mtp.layers.0.mlp.up_proj.weight",
    "model.layers.0.aux_loss_head.weight",
    "model.layers.1.self_attn.k_scale",
    "model.layers.1.self_attn.q_proj.weight_scale",
    "model.layers.1.self_attn.rotary_emb.inv_freq",
    "model.rotary_emb.inv_freq",
    "model.layers.0.self_attn._extra_state",
    "other",
]
HARMFUL = [
    ("model.layers.0.self_attn.q_proj.bias", "adds a bias to a layer"),
    ("model.norm.bias", "adds a bias to a layer"),
    ("lm_head.bias", "adds a bias to a layer"),
    ("model.layers.2.mlp.up_proj.weight", "is from a layer beyond the config's number of layers"),
    (
        "model.layers.0.self_attn.q_norm.weight",
        "is a part of a layer that the config's architecture does not",
    ),
    ("model.layers.0.self_attn.q_proj.lora_A.weight", "is from an adapter that was not merged"),
]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_was_trained_beside_the_model_is_left_out_with_a_warning(
    tiny_llama: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = with_tensors(tiny_llama, tmp_path / "m", lambda tensors: tensors | {name: torch.ones(3)})
    with caplog.at_level(logging.WARNING, "milepost"):
        found = logits(folder)
    said = [record for record in caplog.records if name in record.getMessage()]
    assert len(said) == (0 if "inv_freq" in name or "_extra_state" in name else 1)
    assert torch.equal(found, logits(tiny_llama))
    plain = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        assert torch.allclose(found, plain(TOKENS).logits, atol=1e-5)  # as transformers does


@pytest.mark.parametrize(("name", "what"), HARMFUL)
def test_a_tensor_that_would_change_the_logits_is_refused(
    tiny_llama: Path, tmp_path: Path, name: str, what: str
) -> None:
    folder = with_tensors(tiny_llama, tmp_path / "m", lambda tensors: tensors | {name: torch.ones(3)})
    refusal = refusal_of(lambda: logits(folder))
    assert f"has weights that its config does not know: {name}" in refusal.message
    assert what in str(refusal.hint)


def test_scales_of_quantized_weights_are_no_harmless_ones(tiny_llama: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    folder = with_tensors(
        tiny_llama,
        tmp_path / "m",
        lambda t: t | {name: t[name].to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.ones(1)},
    )
    assert "is the scale of quantized weights" in str(refusal_of(lambda: logits(folder)).hint)


@pytest.mark.parametrize(
    ("architecture", "accepted"),
    [
        ("LlamaWithAuxLoss", True),
        ("MyOwnModel", True),
        ("LlamaForCausalLMWithValueHead", True),
        ("LlamaForSequenceClassification", False),
        ("LlamaForTokenClassification", False),
        ("MyRewardModel", False),
    ],
)
def test_a_class_of_ones_own_is_read_as_the_known_one_and_it_is_said(
    tiny_llama: Path, tmp_path: Path, architecture: str, accepted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "m"))
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": [architecture]}))
    if not accepted:
        refusal = refusal_of(lambda: read_config(folder))
        assert f"is not for a causal language model: {architecture}" in refusal.message
        assert "predict the next token" in str(refusal.hint)
        return
    with caplog.at_level(logging.WARNING, "milepost"):
        assert torch.equal(logits(folder), logits(tiny_llama))
    assert f"names the class {architecture}, which is not run; it is read as LlamaForCausalLM" in caplog.text


def test_the_attention_that_a_config_asks_for_is_of_no_account(tiny_llama: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "m"))
    path = folder / "config.json"
    asked = {"_attn_implementation": "flash_attention_2", "attn_implementation": "flash_attention_2"}
    path.write_text(json.dumps(json.loads(path.read_text()) | asked))
    assert torch.equal(logits(folder), logits(tiny_llama))
