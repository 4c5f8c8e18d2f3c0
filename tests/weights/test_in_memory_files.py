"""A checkpoint's bytes are read once and hashed once, to be identified and to be used."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import milepost
from milepost.errors import CheckpointError
from milepost.weights import in_memory_files as held_files
from milepost.weights.formats.huggingface.safetensors import read_safetensors
from milepost.weights.in_memory_files import HeldFiles, read_file
from tests.run.own_tasks import write_tasks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    tensors = {"a": torch.arange(3000.0).reshape(30, 100), "b": torch.ones(7, dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, path)
    return path


@pytest.mark.parametrize("block_bytes", [1, 999, 1 << 24])
def test_the_hash_taken_while_reading_is_that_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(held_files, "BLOCK_BYTES", block_bytes)
    read = read_file(file)
    assert read.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert read.header.raw + read.data.numpy().tobytes() == file.read_bytes()


def test_what_was_identified_is_used_without_reading_it_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, reads = HeldFiles(), []
    readv = os.readv
    monkeypatch.setattr(os, "readv", lambda *arguments: reads.append(1) or readv(*arguments))
    sha256 = held.sha256(file)
    n_reads = len(reads)
    tensors = read_safetensors(file, sha256, held)
    assert held.sha256(file) == sha256
    assert len(reads) == n_reads > 0
    assert tensors["a"].tolist() == torch.arange(3000.0).reshape(30, 100).tolist()


def test_a_file_overwritten_after_it_was_identified_is_hashed_anew(file: Path) -> None:
    held = HeldFiles()
    sha256 = held.sha256(file)
    held.take(file)
    safetensors.torch.save_file({"a": torch.zeros(5)}, file)
    assert held.sha256(file) != sha256


def test_bytes_that_are_not_those_identified_are_refused(file: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged or was overwritten"):
        read_safetensors(file, "0" * 64, HeldFiles())


def test_a_file_that_is_no_safetensors_is_only_hashed(file: Path) -> None:
    broken = file.with_name("cut.safetensors")
    broken.write_bytes(file.read_bytes()[:-9])
    other = file.with_name("pytorch_model.bin")
    other.write_bytes(b"anything")
    held = HeldFiles()
    for path in (broken, other):
        assert held.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError):
        held.take(broken)
    with pytest.raises(CheckpointError, match="cannot be read"):
        held.sha256(file.with_name("none.safetensors"))


def test_where_no_memory_can_be_pinned_ordinary_memory_does(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, pinned = torch.empty, []

    def refuse(*shape: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        if pin_memory:
            pinned.append(shape)
            raise RuntimeError("cudaHostAlloc failed")
        return empty(*shape, **options)

    monkeypatch.setattr(held_files.torch, "empty", refuse)
    assert HeldFiles(pinned=True).sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert len(pinned) == 1


def test_a_run_reads_each_checkpoint_once(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty memory of hashes: identified, scored, and found unchanged from the same bytes."""
    from milepost.sources import digests

    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path / "cache"))
    opened: list[str] = []

    def counting(path: Path, **options: Any) -> Any:
        if options.get("buffering") == 0 and path.suffix == ".safetensors":
            opened.append(path.parent.name)
        return open_regular(path, **options)

    open_regular = held_files.open_regular
    monkeypatch.setattr(held_files, "open_regular", counting)
    monkeypatch.setattr(digests, "open_regular", counting)
    tasks, out = write_tasks(tmp_path / "tasks"), tmp_path / "out"
    results = milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=out)
    assert len(results.scored) == 3
    assert sorted(opened) == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]
    again = milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=out)
    assert len(again.reused) == 3
    assert threading.active_count() < 20


def test_a_file_that_does_not_fit_in_memory_costs_its_checkpoint_and_not_the_run(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(CheckpointError, match="does not fit in memory"):
        read_file(file)
