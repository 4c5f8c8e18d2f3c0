"""Folders named like checkpoints that hold no weights: named with what is wrong, never left out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from milepost.errors import SourceError
from milepost.sources import discover
from tests.sources.folders import model
from tests.sources.hub.test_listing import Server

STATE = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin")


def problems(run: Path) -> dict[str, str | None]:
    return {one.name: one.problem for one in discover(str(run)).checkpoints}


@pytest.mark.parametrize("state", [STATE, ("optimizer.bin",), ("random_states_0.pkl",), ("optimizer_0/x",)])
def test_a_trainers_folder_with_training_state_alone_lacks_weights(
    tmp_path: Path, state: tuple[str, ...]
) -> None:
    for step in (10, 20, 30):
        model(tmp_path / f"run/checkpoint-{step}")
    (tmp_path / "run/checkpoint-20/model.safetensors").unlink()
    for name in state:
        path = tmp_path / "run/checkpoint-20" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = problems(tmp_path / "run")
    assert list(found) == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]
    assert "weights are missing" in str(found["checkpoint-20"])
    with pytest.raises(SourceError, match="weights are missing"):
        discover(str(tmp_path / "run/checkpoint-20"))


def test_training_state_kept_beside_the_weights_is_no_checkpoint_of_its_own(tmp_path: Path) -> None:
    model(tmp_path / "run/step-10")
    (tmp_path / "run/optim-step-10").mkdir()
    (tmp_path / "run/optim-step-10/optimizer.pt").write_bytes(b"x")
    assert problems(tmp_path / "run") == {"step-10": None}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("consolidated.00.pth", "Meta's own format"),
        ("consolidated.safetensors", "Mistral's own format"),
        ("ckpt.pt", "nanoGPT's format"),
        ("lit_model.pth", "LitGPT's format"),
        ("model-q4.gguf", "llama.cpp's format"),
        ("flax_model.msgpack", "Flax's format"),
        ("weights.ckpt", "is in a format that cannot be read"),
    ],
)
def test_weights_of_a_form_that_is_not_read_are_named(tmp_path: Path, name: str, words: str) -> None:
    for folder in (tmp_path / "alone", tmp_path / "run/step-20"):
        model(folder)
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(b"x")
    model(tmp_path / "run/step-10")
    assert words in str(problems(tmp_path / "run")["step-20"])
    with pytest.raises(SourceError) as refusal:
        discover(str(tmp_path / "alone"))
    assert f"{name} is" in refusal.value.message
    assert words in refusal.value.message
    assert "convert it" in refusal.value.message


def test_links_to_nothing_are_named(tmp_path: Path) -> None:
    """The disk is not mounted or the cache was pruned: the weights are missing, or the whole folder."""
    for step in (10, 20, 30, 40):
        model(tmp_path / f"run/checkpoint-{step}")
    for name in ("checkpoint-20/model.safetensors", "checkpoint-40/config.json"):
        (tmp_path / "run" / name).unlink()
        (tmp_path / "run" / name).symlink_to("/nowhere/file")
    shutil.rmtree(tmp_path / "run/checkpoint-30")
    (tmp_path / "run/checkpoint-30").symlink_to("/nowhere/folder")
    expected = {
        "checkpoint-10": None,
        "checkpoint-20": "model.safetensors is a link to a file that is not there",
        "checkpoint-30": "is a link to a folder that is not there",
        "checkpoint-40": "config.json is a link to a file that is not there",
    }
    assert problems(tmp_path / "run") == expected
    found = discover(str(tmp_path / "run/checkpoint-*")).checkpoints
    assert {one.name: one.problem for one in found} == expected
    with pytest.raises(SourceError, match="is a link to /nowhere/folder, which is not there"):
        discover(str(tmp_path / "run/checkpoint-30"))


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "SHA256SUMS", "model.safetensors.sha256", "added_tokens.json",
     "generation_config.json", "tokenizer.json"],
)  # fmt: skip
def test_a_pipe_in_place_of_any_file_that_is_read_is_named(tmp_path: Path, name: str) -> None:
    model(tmp_path / "run/step-1")
    folder = model(tmp_path / "run/step-2")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    found = problems(tmp_path / "run")
    assert found["step-1"] is None
    assert found["step-2"] == f"{name} is a named pipe, not a file"


@pytest.mark.parametrize(
    "name", ["config.json", "SHA256SUMS", "tokenizer.json", "generation_config.json", "chat_template.jinja"]
)
def test_a_file_far_too_large_for_what_it_is_is_named_and_not_read(tmp_path: Path, name: str) -> None:
    model(tmp_path / "run/step-1")
    folder = model(tmp_path / "run/step-2")
    with (folder / name).open("wb") as file:
        file.truncate(100 << 30)
    found = problems(tmp_path / "run")
    assert found["step-1"] is None
    assert found["step-2"] == f"{name} has 107,374,182,400 bytes, more than such a file can have"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_were_never_written_are_named_and_not_read(tmp_path: Path, name: str) -> None:
    model(tmp_path / "run/step-1")
    folder = model(tmp_path / "run/step-2")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    os.truncate(folder / name, 100 << 30)
    found = problems(tmp_path / "run")
    assert found["step-1"] is None
    assert found["step-2"] == f"{name} was never written: nearly all of it is holes"


@pytest.mark.hub
def test_a_branch_or_folder_without_weights_is_named_on_the_hub_too(shared: Path, tmp_path: Path) -> None:
    server = Server(shared, tmp_path)
    for step in (10, 20):
        for place in (f"own/branches/step-{step}", f"own/run/main/step-{step}"):
            folder = model(server.models / place)
            if step == 20:
                (folder / "model.safetensors").rename(folder / "optimizer.pt")
    code = """
for source in ("hf://own/branches@step-*", "hf://own/run", "hf://own/run/step-*", "hf://own/run/step-20"):
    print([(one.step, one.problem) for one in discover(source).checkpoints])
"""
    try:
        told = server.python(code, endpoint=server.start())
    finally:
        server.stop()
    lacking = "(20, 'weights are missing: there is only training state (optimizer.pt)')"
    assert told.stdout.splitlines() == [f"[(10, None), {lacking}]"] * 3 + [f"[{lacking}]"], told.stderr
