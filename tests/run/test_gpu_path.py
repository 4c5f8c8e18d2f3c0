"""Whole runs through the GPU path, on a CPU by the product's own test switch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milepost.api.results import Results
from milepost.engine.accelerator import EMULATE
from milepost.engine.attention_gpu import FlexRunner
from milepost.engine.gpu_path import GpuPath
from milepost.store import ResultsFolder, open_folder
from tests.cli.called import milepost as call
from tests.engine.emulated import Compiler, compiler
from tests.faults.zygote import Zygote
from tests.run.own_tasks import write_tasks

pytestmark = pytest.mark.slow

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


DYING = """
import os, signal
os.environ['MILEPOST_EMULATED_GPU'] = 'eager'
from milepost.store import atomic_files as files
replace, done = os.replace, []
def dying(old, new):
    done.append(str(new))
    if sum('/scores/' in path for path in done) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(old, new)
files.os.replace = dying
"""
"""A process that is killed in its second checkpoint, when it is about to name its ninth score file."""


def test_a_killed_run_by_the_gpu_path_goes_on_and_ends_like_a_run_on_a_cpu(
    tiny_run: Path, tmp_path: Path, compiler: Compiler, paths: list[GpuPath], zygote: Zygote
) -> None:
    tasks, killed, on_cpu = write_tasks(tmp_path / "tasks"), tmp_path / "killed", tmp_path / "cpu"
    asked: list[str | Path] = ["run", tiny_run, "-t", "farm,prose", "--include-path", tasks, "--yes"]
    asked += ["--shard-tokens", "30", "--batch-size", "128"]
    log = tmp_path / "log"
    assert zygote.run(*asked, "-o", killed, log=log, before=DYING) == -9, log.read_text("utf-8")
    kept = {path: path.stat().st_mtime_ns for path in (killed / "store" / "scores").rglob("[!.]*.parquet")}
    assert len(kept) == 8
    again = call(*asked, "-o", killed)
    assert again.status == 0, again.err
    assert paths
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(EMULATE)
        made = len(paths)
        assert call(*asked, "-o", on_cpu).status == 0
        assert len(paths) == made, "a CPU has no GPU path"
    found, expected = scores_in(killed), scores_in(on_cpu)
    assert found.keys() == expected.keys()
    assert len(found) > 24
    for name, (loglikelihood, greedy) in found.items():
        np.testing.assert_allclose(loglikelihood, expected[name][0], atol=1e-4, rtol=0)
        np.testing.assert_array_equal(greedy, expected[name][1])
    rows, usual = (Results.open(folder).to_records() for folder in (killed, on_cpu))
    assert [row["value"] for row in rows] == pytest.approx(
        [row["value"] for row in usual], abs=1e-3, rel=1e-5
    )
    assert os.listdir(open_folder(killed).leases_folder) == []
    assert "packed" in next(killed.rglob("evaluation.log")).read_text("utf-8")
