"""Whole runs through the GPU path, on a CPU by the product's own test switch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.called import milepost as call
from engine.emulated import Compiler, compiler

from milepost.engine.attention_gpu import FlexRunner
from milepost.engine.gpu_path import GpuPath
from milepost.store import ResultsFolder

__all__ = ["compiler"]


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> list[GpuPath]:
    """Every GPU path that is made."""
    made: list[GpuPath] = []
    own = GpuPath.__init__

    def noted(self: GpuPath, *given: Any, **named: Any) -> None:
        own(self, *given, **named)
        made.append(self)

    monkeypatch.setattr(GpuPath, "__init__", noted)
    return made


def scores_in(folder: Path) -> dict[str, tuple[Any, Any]]:
    results = ResultsFolder(folder)
    return {
        str(path.relative_to(folder)): results.read_scores(path)
        for path in sorted((folder / "store" / "scores").rglob("*.parquet"))
    }


def run(source: Path, out: Path, *options: str) -> str:
    said = call("run", source, "-t", "arc_easy,arc_challenge", "--limit", "16", "-o", out, "--yes", *options)
    assert said.status == 0, said.err
    return said.out + said.err


def test_three_checkpoints_by_the_gpu_path_have_the_reference_s_scores(
    hub: str, tiny_run: Path, tmp_path: Path, compiler: Compiler, paths: list[GpuPath]
) -> None:
    said = run(tiny_run, tmp_path / "gpu", "--batch-size", "128")
    assert "SDPA" not in said
    assert len(paths) == 1, "three checkpoints through one live module"
    counts = paths[0].counts
    assert counts.packs >= 100
    assert counts.slots <= 1.2 * counts.tokens
    assert paths[0].n_uploaded <= counts.packs / 3 + 4
    assert paths[0].accelerator.waits <= 2 * counts.packs
    assert len(compiler.graphs) <= 3
    assert compiler.dense_calls == FlexRunner.dense_calls == 0
    run(tiny_run, tmp_path / "reference", "--engine", "reference")
    found, expected = scores_in(tmp_path / "gpu"), scores_in(tmp_path / "reference")
    assert found.keys() == expected.keys()
    assert len(found) == 6
    for name, (loglikelihood, greedy) in found.items():
        np.testing.assert_allclose(loglikelihood, expected[name][0], atol=1e-4, rtol=0)
        np.testing.assert_array_equal(greedy, expected[name][1])


def test_a_run_whose_kernels_cannot_be_built_says_so_and_has_the_same_scores(
    hub: str, tiny_run: Path, tmp_path: Path, compiler: Compiler
) -> None:
    def fail() -> None:
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

    compiler.on_compile = fail
    said = run(tiny_run, tmp_path / "gpu")
    assert " ".join(said.split()).count("Failed to find C compiler") == 1
    run(tiny_run, tmp_path / "padded", "--engine", "padded")
    found, expected = scores_in(tmp_path / "gpu"), scores_in(tmp_path / "padded")
    for name, (loglikelihood, _) in found.items():
        np.testing.assert_allclose(loglikelihood, expected[name][0], atol=1e-4, rtol=0)
