"""Which device a run may be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from milepost.errors import MilepostError
from milepost.run.device import resolve_device
from tests.cli.called import milepost as call
from tests.cli.called import refusal
from tests.run.own_tasks import write_tasks


@pytest.fixture(params=[0, 2])
def n_gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine with so many GPUs, as torch tells it."""
    n: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return n


@pytest.mark.parametrize(
    "device",
    ["cuda:x", "cuda:-1", "cuda:", "cuda:9", "cuda:01", "cuda:0:0", "cuda: 0", "CUDA", "mps", "x", ""],
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(n_gpus: int, device: str) -> None:
    with pytest.raises(MilepostError) as refused:
        resolve_device(device)
    assert refused.value.message == f"there is no device {device!r} here"
    assert refused.value.hint == "there are: auto, cpu" + (", cuda, cuda:0, cuda:1" if n_gpus else "")
    assert refused.value.exit_code == 2


def test_a_device_that_is_there_is_taken(n_gpus: int) -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if n_gpus else "cpu")
    if n_gpus:
        assert [resolve_device(one) for one in ("cuda", "cuda:0", "cuda:1")] == ["cuda", "cuda:0", "cuda:1"]


@pytest.mark.parametrize("device", ["cuda:x", "cuda:9", "mps"])
def test_the_command_says_so_in_one_line_and_writes_nothing(
    n_gpus: int, device: str, tiny_llama: Path, tmp_path: Path
) -> None:
    tasks, out = write_tasks(tmp_path / "tasks"), tmp_path / "out"
    called = call("run", tiny_llama, "-t", "where", "--include-path", tasks, "-o", out, "--device", device)
    assert f"error: there is no device {device!r} here\n" in refusal(called)
    assert not out.exists()
