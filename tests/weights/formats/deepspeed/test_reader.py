"""DeepSpeed ZeRO checkpoints: the logits of their fp32 masters; what is broken or hostile is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from milepost.sources import discover
from milepost.weights import read_checkpoint
from tests.sources.folders import refusal_of
from tests.weights.hostile import Command
from tests.weights.references import TOLERANCE, largest_differences

RUNS = ["zero1_fp32", "zero2_bf16", "zero3_bf16"]


@pytest.fixture
def copy_of(shared: Path, tmp_path: Path) -> Any:
    """A function from the name of a run to a copy of it that a test may break."""

    def copied(run: str) -> Path:
        return Path(shutil.copytree(shared / "checkpoints/deepspeed" / run, tmp_path / run))

    return copied


def optim_file(run: Path, rank: int, step: int = 30) -> Path:
    (found,) = (run / f"global_step{step}").glob(f"*zero_pp_rank_{rank}_*_optim_states.pt")
    return found


def problems_in(run: Path) -> dict[str, str | None]:
    return {one.name: one.problem for one in discover(str(run)).checkpoints}


@pytest.mark.parametrize("run", RUNS)
def test_logits_are_those_of_the_masters_in_the_live_engine(shared: Path, tmp_path: Path, run: Path) -> None:
    folder = shared / "checkpoints/deepspeed" / run
    found = largest_differences(folder, folder.with_suffix(".reference.safetensors"), tmp_path)
    assert found.keys() == {"global_step10", "global_step30"}
    assert max(found.values()) < TOLERANCE


@pytest.mark.parametrize("run", RUNS)
def test_all_masters_are_float32(shared: Path, run: Path) -> None:
    weights = read_checkpoint(shared / "checkpoints/deepspeed" / run / "global_step30", "deepspeed")
    assert {tensor.dtype for tensor in weights.tensors.values()} == {torch.float32}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_missing_file_of_a_rank_is_named_even_the_last(copy_of: Any, run: Path, rank: Any) -> None:
    folder = copy_of(run)
    optim_file(folder, rank).unlink()
    problems = problems_in(folder)
    assert problems["global_step10"] is None
    assert problems["global_step30"].startswith("missing: zero_pp_rank_" + str(rank))


@pytest.mark.parametrize("run", RUNS)
def test_a_save_of_which_only_the_module_is_there_is_incomplete(copy_of: Any, run: Path) -> None:
    folder = copy_of(run)
    for rank in (0, 1):
        optim_file(folder, rank).unlink()
    problems = problems_in(folder)
    assert problems["global_step10"] is None
    assert "missing: " in problems["global_step30"]


def test_a_file_cut_short_is_named(copy_of: Any) -> None:
    folder = copy_of("zero2_bf16")
    file = optim_file(folder, 1)
    file.write_bytes(file.read_bytes()[:-100])
    assert f"{file.name} is cut short" in problems_in(folder)["global_step30"]


@pytest.mark.parametrize("run", RUNS)
def test_ranks_of_different_steps_are_refused(copy_of: Any, run: Path) -> None:
    folder = copy_of(run)
    shutil.copy(optim_file(folder, 1, step=10), optim_file(folder, 1, step=30))
    refusal = refusal_of(lambda: read_checkpoint(folder / "global_step30", "deepspeed"))
    assert "is of another step than" in refusal.message
    assert optim_file(folder, 1).name in refusal.message


def test_states_of_the_module_of_different_steps_are_refused(copy_of: Any) -> None:
    folder = copy_of("zero3_bf16")
    name = "zero_pp_rank_1_mp_rank_00_model_states.pt"
    shutil.copy(folder / "global_step10" / name, folder / "global_step30" / name)
    refusal = refusal_of(lambda: read_checkpoint(folder / "global_step30", "deepspeed"))
    assert "is of step 10" in refusal.message


def test_a_module_that_is_not_the_masters_rounded_is_refused(copy_of: Any) -> None:
    folder = copy_of("zero2_bf16")
    name = "mp_rank_00_model_states.pt"
    shutil.copy(folder / "global_step10" / name, folder / "global_step30" / name)
    refusal = refusal_of(lambda: read_checkpoint(folder / "global_step30", "deepspeed"))
    assert "differs from the ranks' optimizers" in refusal.message


def test_a_config_that_contradicts_the_shapes_is_refused(shared: Path, tmp_path: Path) -> None:
    run = shared / "checkpoints/deepspeed/zero3_bf16"
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    reference = run.with_suffix(".reference.safetensors")
    refusal = refusal_of(lambda: largest_differences(copy, reference, tmp_path))
    assert "does not fit its config" in refusal.message
    assert "mlp" in refusal.message


@pytest.mark.parametrize("which", ["model", "optim"])
def test_code_in_a_file_is_not_run_and_the_other_checkpoints_stay_usable(
    copy_of: Any, tmp_path: Path, which: Any
) -> None:
    folder, mark = copy_of("zero2_bf16"), tmp_path / "mark"
    file = optim_file(folder, 0) if which == "optim" else folder / "global_step30/mp_rank_00_model_states.pt"
    torch.save({"optimizer_state_dict": Command(mark)}, file)
    with pytest.raises(Exception, match="posix"):
        torch.load(file, weights_only=True)
    problem = problems_in(folder)["global_step30"]
    refusal = refusal_of(lambda: read_checkpoint(folder / "global_step30", "deepspeed"))
    assert "asks to run code (posix.system)" in refusal.message
    assert file.name in refusal.message
    assert problem is None or "posix.system" in problem
    assert problems_in(folder)["global_step10"] is None
    assert not mark.exists()


def test_latest_that_names_a_folder_which_is_not_there_is_told(copy_of: Any) -> None:
    folder = copy_of("zero2_bf16")
    (folder / "latest").write_text("global_step40")
    problems = problems_in(folder)
    assert problems["global_step40"] == "latest names it, but there is no such folder"
    assert [problems["global_step10"], problems["global_step30"]] == [None, None]


def test_a_checkpoint_of_transformers_trainer_holds_such_a_folder(shared: Path, tmp_path: Path) -> None:
    source = shared / "checkpoints/deepspeed/zero3_bf16"
    folder = tmp_path / "run/checkpoint-30"
    shutil.copytree(source / "global_step30", folder / "global_step30")
    shutil.copy(source / "config.json", folder)
    (folder / "trainer_state.json").write_text("{}")
    (folder / "latest").write_text("global_step30")
    (found,) = discover(str(tmp_path / "run")).checkpoints
    assert (found.name, found.step, found.format, found.problem) == ("checkpoint-30", 30, "deepspeed", None)
    expected = read_checkpoint(source / "global_step30", "deepspeed").tensors
    read = read_checkpoint(folder, "deepspeed").tensors
    assert all(torch.equal(read[name], expected[name]) for name in expected)


def test_tensor_parallel_files_are_refused_by_name(copy_of: Any) -> None:
    folder = copy_of("zero2_bf16")
    one = folder / "global_step30/mp_rank_00_model_states.pt"
    shutil.copy(one, one.with_name("mp_rank_01_model_states.pt"))
    assert "mp_rank_01" in problems_in(folder)["global_step30"]
