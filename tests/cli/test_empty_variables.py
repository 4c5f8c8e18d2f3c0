"""A variable that is set but empty counts as not set."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import milepost
from milepost.cli.empty_variables import unset_empty_variables

PACKAGE = Path(milepost.__file__).parent


def test_empty_settings_of_libraries_are_unset_and_values_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_HOME", "RAY_ADDRESS", "AWS_PROFILE", "WANDB_MODE", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HF_TOKEN", "hf_1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # says: no GPUs
    unset_empty_variables()
    assert not {"HF_ENDPOINT", "HF_HOME", "RAY_ADDRESS", "AWS_PROFILE", "WANDB_MODE"} & set(os.environ)
    assert (os.environ["HF_TOKEN"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("hf_1", "")


def test_the_command_line_unsets_them_before_the_library_of_the_hub_reads_them(tmp_path: Path) -> None:
    program = """
from milepost.cli.main import prepare_process
prepare_process()
from huggingface_hub import constants
print(constants.ENDPOINT, constants.HF_HUB_CACHE, constants.HF_HUB_DOWNLOAD_TIMEOUT)
"""
    empty = dict.fromkeys(("HF_ENDPOINT", "HF_HOME", "HF_HUB_DOWNLOAD_TIMEOUT", "XDG_CACHE_HOME"), "")
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **empty, "HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [
        "https://huggingface.co", str(tmp_path / ".cache/huggingface/hub"), "10"
    ]  # fmt: skip


def test_no_code_takes_an_empty_variable_for_one_that_is_set() -> None:
    """`get(name, default)` would give the empty text, and `name in os.environ` be true."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in _lines_that_tell_empty_from_unset(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []


def _lines_that_tell_empty_from_unset(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=function, args=[_, default]) if _asks_environment(function):
                if ast.unparse(default) != "''":
                    yield node.lineno
            case ast.Compare(comparators=compared) if "os.environ" in map(ast.unparse, compared):
                yield node.lineno


def _asks_environment(function: ast.expr) -> bool:
    return ast.unparse(function) in ("os.environ.get", "os.getenv")


def test_the_walk_finds_what_it_looks_for() -> None:
    wrong = 'os.environ.get("A", "b")\nos.getenv("A", x)\n"A" in os.environ\nos.environ.get("A", "")\n'
    assert list(_lines_that_tell_empty_from_unset(ast.parse(wrong))) == [1, 2, 3]
