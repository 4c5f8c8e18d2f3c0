"""What the doctor says of a GPU: what compiled attention lacks, and what a trial of it showed."""

from __future__ import annotations

import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from milepost.doctor import gpu, machine
from milepost.doctor.finding import Finding

Properties = namedtuple("Properties", "name major minor shared_memory_per_block_optin")


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two cards, as far as torch tells."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (int(20e9), int(24e9)))
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda number: [Properties("NVIDIA A10", 8, 6, 101_376), Properties("Tesla T4", 7, 5, 65_536)][
            number
        ],
    )
    monkeypatch.setattr(gpu.util, "find_spec", lambda name: object())
    monkeypatch.setattr(gpu.metadata, "version", lambda name: "3.7.0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_machine_without_a_gpu_says_so_and_nothing_more() -> None:
    (finding,) = gpu.check_gpu()
    assert finding.status == "ok"
    assert "no CUDA GPU" in finding.found
    assert finding.advice is None


def test_a_card_is_told_with_capability_and_memory(a_gpu: None) -> None:
    first, second = machine.check_device()
    assert first.found == (
        "cuda:0, NVIDIA A10, compute capability 8.6, 101 kB of shared memory a block, "
        "24 GB of memory, 20 GB free"
    )
    assert second.found.endswith("; without bfloat16")


def test_each_card_is_tried(a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "try_attention", lambda device: Finding(f"attention on {device}", "ok", "right"))
    found = [(finding.check, finding.status) for finding in gpu.check_gpu()]
    assert found == [
        ("triton", "ok"),
        ("C compiler", "ok"),
        ("Python.h", "ok"),
        ("attention on cuda:0", "ok"),
        ("attention on cuda:1", "ok"),
    ]


@pytest.mark.parametrize("missing", ["triton", "C compiler", "Python.h"])
def test_what_is_missing_is_a_warning_with_a_remedy_and_spares_the_trial(
    a_gpu: None, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "triton":
        monkeypatch.setattr(gpu.util, "find_spec", lambda name: None)
    elif missing == "C compiler":
        monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    else:
        monkeypatch.setattr(gpu.sysconfig, "get_paths", lambda: {"include": "/nowhere"})
    findings = {finding.check: finding for finding in gpu.check_gpu()}
    assert [check for check, finding in findings.items() if finding.status != "ok"] == [missing]
    assert findings[missing].status == "warning"
    assert "install" in (findings[missing].advice or "")
    assert list(findings) == ["triton", "C compiler", "Python.h"]


def test_a_compiler_that_is_named_but_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    monkeypatch.setenv("PATH", "/nowhere")
    finding = gpu.check_compiler()
    assert (finding.status, finding.found) == ("warning", "CC=/nowhere/cc is not a command")


def test_an_attention_that_does_not_compile_is_a_warning_with_its_reason() -> None:
    finding = gpu.try_attention("cuda:99")
    assert finding.status == "warning"
    assert "does not compile: " in finding.found
    assert "Error" in finding.found


def test_a_trial_that_takes_too_long_is_told() -> None:
    finding = gpu.try_attention("cpu", longest_s=0.01)
    assert (finding.status, finding.found) == ("warning", "did not compile within 0 s")


def test_an_attention_that_is_wrong_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = tmp_path / "python"
    stub.write_text('#!/bin/sh\necho \'{"seconds": 1.0, "off": NaN, "tile": "64x64"}\'\n')
    stub.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stub))
    finding = gpu.try_attention("cuda:0")
    assert (finding.status, finding.found) == ("broken", "is wrong by nan")


@pytest.mark.slow
def test_the_trial_compiles_attention_and_finds_it_right_on_a_cpu() -> None:
    finding = gpu.try_attention("cpu")
    assert finding.status == "ok", finding
    assert finding.found.startswith("compiled and right")
