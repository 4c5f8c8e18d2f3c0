"""`milepost convert`: Hugging Face folders that other programs load."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from milepost.weights import read_checkpoint
from milepost.weights.save_folder import write_checkpoint
from tests.cli.called import milepost
from tests.weights.formats.megatron.made import GPT2, LLAMA, logits, made_args, random_model, write_legacy

IDS = torch.arange(40).view(2, 20) % 60


def loaded(folder: Path) -> torch.Tensor:
    """Logits of what transformers itself makes of a folder."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


@pytest.mark.parametrize("style", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_one_checkpoint_becomes_the_folder(tmp_path: Path, shared: Path, style: dict[str, object]) -> None:
    args = made_args(style, padded_vocab_size=272)
    tensors = random_model(args)
    source = write_legacy(tmp_path / "run", args, tensors, tp=2, stages=[[2], [2]])
    tokenizer = shared / "checkpoints" / "hf" / "trainer_llama" / "checkpoint-10"
    told = milepost("convert", source, "-o", tmp_path / "out", "--tokenizer", tokenizer)
    assert (told.status, told.out) == (0, f"wrote {tmp_path / 'out'}\n")
    assert torch.allclose(loaded(tmp_path / "out"), logits(args, tensors, IDS), atol=1e-5)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == 256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_each_of_several_gets_a_folder_and_one_that_is_broken_is_named(tmp_path: Path) -> None:
    args = made_args()
    for iteration in (10, 20, 30):
        write_legacy(tmp_path / "run", args, random_model(args, iteration), tp=2, iteration=iteration)
    broken = tmp_path / "run" / "iter_0000020" / "mp_rank_01" / "model_optim_rng.pt"
    os.truncate(broken, 5000)
    told = milepost("convert", tmp_path / "run", "-o", tmp_path / "out", "--json")
    assert told.status == 1
    done = json.loads(told.out)
    assert [one["folder"] is not None for one in done] == [True, False, True]
    assert "is cut short" in done[1]["problem"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["iter_0000010", "iter_0000030"]
    listed = json.loads(milepost("list", tmp_path / "out", "--json").out)
    assert [(one["step"], one["complete"]) for one in listed] == [(10, True), (30, True)]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    args = made_args()
    source = write_legacy(tmp_path / "run", args, random_model(args))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    told = milepost("convert", source, "-o", tmp_path / "out")
    assert told.status == 2
    assert "out is not empty" in told.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    args = made_args()
    source = write_legacy(tmp_path / "run", args, random_model(args))
    (tmp_path / "file").write_text("")
    told = milepost("convert", source, "-o", tmp_path / "file" / "out")
    assert told.status in (1, 2)
    assert str(tmp_path / "file" / "out") in told.err


def test_large_models_are_written_in_shards(tmp_path: Path) -> None:
    args = made_args()
    tensors = random_model(args)
    source = write_legacy(tmp_path / "run", args, tensors)
    weights = read_checkpoint(source, "megatron")
    (tmp_path / "out").mkdir()
    files = write_checkpoint(weights, tmp_path / "out", max_shard_bytes=20_000)
    assert weights.tensors == {}
    assert len([path for path in files if path.suffix == ".safetensors"]) > 3
    assert torch.allclose(loaded(tmp_path / "out"), logits(args, tensors, IDS), atol=1e-5)


def test_a_hugging_face_folder_is_converted_too(tmp_path: Path, shared: Path) -> None:
    source = shared / "checkpoints" / "hf" / "sharded_llama" / "checkpoint-30"
    told = milepost("convert", source, "-o", tmp_path / "out")
    assert told.status == 0
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    theirs = AutoModelForCausalLM.from_pretrained(source).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
