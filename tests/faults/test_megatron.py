"""Broken and hostile checkpoints of Megatron-LM: none runs code, each is named, the others are scored."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.called import milepost
from tests.run.own_tasks import write_tasks
from tests.weights.formats.megatron.made import GPT2, made_args, random_model, write_legacy, write_torch_dist
from tests.weights.hostile import Command

ARGS = made_args(GPT2, padded_vocab_size=272, max_position_embeddings=256)
"""Tied embeddings, so that the last pipeline stage has a copy."""
STAGES = [[2], [2]]


def spoil(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def rank(folder: Path, name: str) -> Path:
    return folder / name / "model_optim_rng.pt"


def hostile_rng_state(folder: Path, mark: Path) -> None:
    state = [{"random_rng_state": Command(mark)}]
    spoil(rank(folder, "mp_rank_01_001"), lambda content: content.update(rng_state=state))


def hostile_args(folder: Path, mark: Path) -> None:
    spoil(rank(folder, "mp_rank_00_000"), lambda content: setattr(content["args"], "spec", Command(mark)))


def hostile_optimizer(folder: Path, mark: Path) -> None:
    spoil(rank(folder, "mp_rank_00_001"), lambda content: content.update(optimizer=Command(mark)))


def no_file_of_a_rank(folder: Path, mark: Path) -> None:
    rank(folder, "mp_rank_01_000").unlink()


def no_folders_of_tensor_rank_1(folder: Path, mark: Path) -> None:
    """What is left looks like a checkpoint of one tensor-parallel rank."""
    for stage in ("000", "001"):
        shutil.rmtree(folder / f"mp_rank_01_{stage}")


def other_iteration(folder: Path, mark: Path) -> None:
    spoil(rank(folder, "mp_rank_01_000"), lambda content: content.update(iteration=7))


def half_written(folder: Path, mark: Path) -> None:
    cut(rank(folder, "mp_rank_01_001"))


def other_tied_copy(folder: Path, mark: Path) -> None:
    name = "output_layer.weight"
    spoil(rank(folder, "mp_rank_01_001"), lambda content: content["model"][name].add_(0.001))


def other_replica(folder: Path, mark: Path) -> None:
    name = "decoder.layers.1.input_layernorm.weight"
    spoil(rank(folder, "mp_rank_01_000"), lambda content: content["model"][name].mul_(1.5))


def args_of_other_shapes(folder: Path, mark: Path) -> None:
    for path in folder.glob("mp_rank_*/*.pt"):
        spoil(path, lambda content: setattr(content["args"], "ffn_hidden_size", 64))


def a_tensor_too_few(folder: Path, mark: Path) -> None:
    name = "decoder.layers.0.mlp.linear_fc1.bias"
    spoil(rank(folder, "mp_rank_00_001"), lambda content: content["model"].pop(name))


def code_of_an_old_order(folder: Path, mark: Path) -> None:
    for path in folder.glob("mp_rank_*/*.pt"):
        spoil(path, lambda content: content.update(checkpoint_version=2.0))


BROKEN: dict[Callable[[Path, Path], None], str] = {
    hostile_rng_state: "mp_rank_01_001/model_optim_rng.pt asks to run code (posix.system)",
    hostile_args: "mp_rank_00_000/model_optim_rng.pt asks to run code (posix.system)",
    hostile_optimizer: "mp_rank_00_001/model_optim_rng.pt asks to run code (posix.system)",
    no_file_of_a_rank: "missing: mp_rank_01_000/model_optim_rng.pt",
    no_folders_of_tensor_rank_1: "missing: mp_rank_01_000/model_optim_rng.pt, mp_rank_01_001/model_optim_rng",
    other_iteration: "mp_rank_01_000/model_optim_rng.pt is of iteration 7, mp_rank_00_000 of 50",
    half_written: "mp_rank_01_001/model_optim_rng.pt is cut short",
    other_tied_copy: "its copy of the tied embedding (output_layer.weight) differs from the first stage's",
    other_replica: "decoder.layers.1.input_layernorm.weight differs from the first rank's",
    args_of_other_shapes: "differs in n_inner",
    a_tensor_too_few: "lacks a layer|decoder.layers.2.mlp.linear_fc1.bias is in 1 files",
    code_of_an_old_order: "has checkpoint_version 2.0, which cannot be read",
}


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> Path:
    return shared / "checkpoints" / "hf" / "trainer_llama" / "checkpoint-10"


def failures(run: Path, tasks: Path, tokenizer: Path, results: Path) -> tuple[list[str], str]:
    """Names of the checkpoints that were scored, and what was said of the others."""
    told = milepost(
        "run", run, "-t", "where", "--include-path", tasks, "--tokenizer", tokenizer, "-o", results
    )
    assert told.status == 1
    shown = json.loads(milepost("show", results, "--json").out)
    return sorted({row["checkpoint"] for row in shown}), told.err


def test_broken_checkpoints_are_named_and_the_others_finished(tmp_path: Path, tokenizer: Path) -> None:
    run, mark = tmp_path / "run", tmp_path / "mark"
    tensors = random_model(ARGS)
    good = [10, 20, 990]
    expected = {}
    for iteration in good:
        write_legacy(run, ARGS, tensors, tp=2, stages=STAGES, iteration=iteration)
    for number, (breakage, reason) in enumerate(BROKEN.items()):
        name = f"iter_{30 + 10 * number:07d}"
        folder = write_legacy(run, ARGS, tensors, tp=2, stages=STAGES, iteration=30 + 10 * number)
        breakage(folder, mark)
        expected[name] = reason.replace("of 50", f"of {30 + 10 * number}")
    (run / "latest_checkpointed_iteration.txt").write_text("1000")
    scored, said = failures(run, write_tasks(tmp_path / "tasks"), tokenizer, tmp_path / "results")
    assert scored == [f"iter_{iteration:07d}" for iteration in good]
    for name, reason in expected.items():
        told = "\n".join(line for line in said.splitlines() if name in line)
        assert any(part in told for part in reason.split("|")), (name, reason, told)
    assert "iter_0001000" in said
    assert not mark.exists()


def no_common(folder: Path, mark: Path) -> None:
    cut(folder / "common.pt")


def hostile_common(folder: Path, mark: Path) -> None:
    spoil(folder / "common.pt", lambda content: content.update(rerun_state_machine=Command(mark)))


def cut_pieces(folder: Path, mark: Path) -> None:
    cut(folder / "__0_0.distcp")


def no_metadata(folder: Path, mark: Path) -> None:
    (folder / ".metadata").unlink()


def dist_args_of_other_shapes(folder: Path, mark: Path) -> None:
    spoil(folder / "common.pt", lambda content: setattr(content["args"], "kv_channels", 4))


BROKEN_DIST: dict[Callable[[Path, Path], None], str] = {
    no_common: "common.pt is cut short",
    hostile_common: "common.pt asks to run code (posix.system)",
    cut_pieces: "__0_0.distcp is cut short",
    no_metadata: ".metadata is missing",
    dist_args_of_other_shapes: "no architecture of transformers|does not fit its args",
}


def test_broken_torch_dist_checkpoints_are_named_and_the_others_finished(
    tmp_path: Path, tokenizer: Path
) -> None:
    run, mark = tmp_path / "run", tmp_path / "mark"
    tensors = random_model(ARGS)
    good = write_torch_dist(run, ARGS, tensors, iteration=10)
    for number, breakage in enumerate(BROKEN_DIST):
        folder = run / f"iter_{20 + 10 * number:07d}"
        shutil.copytree(good, folder)
        breakage(folder, mark)
    scored, said = failures(run, write_tasks(tmp_path / "tasks"), tokenizer, tmp_path / "results")
    assert scored == ["iter_0000010"]
    for number, reason in enumerate(BROKEN_DIST.values()):
        name = f"iter_{20 + 10 * number:07d}"
        told = "\n".join(line for line in said.splitlines() if name in line)
        assert any(part in told for part in reason.split("|")), (name, reason, told)
    assert not mark.exists()


def test_the_bombs_are_armed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    folder = write_legacy(tmp_path, ARGS, random_model(ARGS), tp=2, stages=STAGES)
    hostile_rng_state(folder, mark)
    torch.load(rank(folder, "mp_rank_01_001"), weights_only=False)
    assert mark.exists()
