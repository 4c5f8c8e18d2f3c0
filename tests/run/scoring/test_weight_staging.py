"""The next checkpoint comes to the GPU while the present one is scored; at most two copies are there."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from milepost.engine.accelerator import EMULATE, Accelerator
from milepost.engine.gpu_memory import MemoryModel, staging_bytes
from milepost.engine.gpu_path import GpuPath
from milepost.engine.optimizations import Optimizations
from milepost.engine.upload import Upload, upload_if_it_fits
from milepost.run.scoring.weight_staging import Staging
from milepost.weights import CheckpointWeights, LiveModel, read_checkpoint
from tests.engine.emulated import Compiler, compiler
from tests.run.test_gpu_path import run, scores_in
from tests.weights.test_live_model import CONFIGS, save

pytestmark = pytest.mark.slow

__all__ = ["compiler"]

ROOM = 2**30


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(EMULATE, "eager")
    return SimpleNamespace(accelerator=Accelerator(torch.device("cpu")), staging_bytes=ROOM)


def checkpoints(folder: Path, name: str, n: int = 2) -> list[CheckpointWeights]:
    import transformers

    kind, values = CONFIGS[name]
    config = getattr(transformers, kind)(**values)
    return [read_checkpoint(save(folder / str(i), config, i), "safetensors") for i in range(n)]


@pytest.mark.parametrize("name", ["llama", "llama, tied", "gpt2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_staged_weights_are_bit_for_bit_those_copied_without_staging(
    tmp_path: Path, path: Any, name: str, dtype: str
) -> None:
    first, second = checkpoints(tmp_path, name)
    live, plain = (LiveModel.build(first, dtype=dtype) for _ in range(2))
    staging = Staging()
    staging.offer(second)
    before = {key: tensor.clone() for key, tensor in live.module.state_dict().items()}
    staging.stage(live, path)
    for key, tensor in live.module.state_dict().items():
        assert torch.equal(tensor, before[key]), "the module that is scored is as it was"
    staged = staging.staged(second)
    assert staged
    live.copy_from(second, staged)
    plain.copy_from(second)
    for key, tensor in plain.module.state_dict().items():
        assert torch.equal(live.module.state_dict()[key], tensor)


def test_a_second_checkpoint_is_not_staged_before_the_first_is_forgotten(tmp_path: Path, path: Any) -> None:
    first, second, third = checkpoints(tmp_path, "llama", 3)
    live, staging = LiveModel.build(first), Staging()
    staging.offer(second)
    staging.stage(live, path)
    staging.offer(third)
    staging.stage(live, path)
    assert staging.staged(second)
    assert staging.staged(third) is None
    kept = [weakref.ref(tensor) for tensor in (staging.staged(second) or {}).values()]
    staging.forget(second)
    gc.collect()
    assert not any(ref() is not None for ref in kept)
    staging.stage(live, path)
    assert staging.staged(third)


def test_what_does_not_fit_the_module_or_the_room_is_not_staged(tmp_path: Path, path: Any) -> None:
    first, second = checkpoints(tmp_path / "a", "llama")
    other = checkpoints(tmp_path / "b", "gpt2", 1)[0]
    live = LiveModel.build(first)
    for weights, changed in ((other, ROOM), (second, 1000), (second, 0)):
        staging = Staging()
        staging.offer(weights)
        path.staging_bytes = changed
        staging.stage(live, path)
        assert staging.staged(weights) is None
    converted = checkpoints(tmp_path / "c", "mixtral")
    path.staging_bytes = ROOM
    staging.offer(converted[1])
    staging.stage(LiveModel.build(converted[0]), path)
    assert staging.staged(converted[1]) is None


class Stream:
    """A stand-in for torch.cuda.Stream; everything that is asked of one is noted."""

    def __init__(self, said: list[str], name: str) -> None:
        self.said, self.name = said, name

    def wait_event(self, event: Any) -> None:
        self.said.append(f"{self.name} waits for {event.of}")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the CUDA branches of accelerator and upload ask of torch.cuda."""
    lines: list[str] = []

    class Event:
        of = ""

        def record(self, stream: Stream) -> None:
            self.of = stream.name
            lines.append(f"event on {stream.name}")

        def synchronize(self) -> None:
            lines.append(f"host waits for {self.of}")

    def on(stream: Stream) -> Any:
        lines.append(f"work on {stream.name}")
        return nullcontext()

    monkeypatch.setattr(Accelerator, "is_real", property(lambda self: True))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(lines, "side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(lines, "main"))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: lines.append("cache emptied"))
    return lines


def test_the_computing_stream_waits_for_the_copies_and_the_host_only_before_it_frees_them(
    path: Any, said: list[str]
) -> None:
    accelerator = path.accelerator
    tensors = {"a": (torch.ones(4), torch.bfloat16), "b": (torch.ones(2), torch.float32)}
    upload = Upload(accelerator, accelerator.side_stream(), tensors)
    assert said == ["work on side", "event on side"]
    upload.join()
    assert said[2:] == ["main waits for side"]
    upload.drop()
    assert said[3:] == ["host waits for side"]
    assert not upload.tensors


def test_an_upload_without_memory_waits_for_its_copies_frees_them_and_is_none(
    path: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = torch.Tensor.to
    made: list[weakref.ref[torch.Tensor]] = []

    def to(self: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
        if named.get("non_blocking") and len(made) == 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        result = own(self, *given, **named)
        if named.get("non_blocking"):
            made.append(weakref.ref(result))
        return result

    monkeypatch.setattr(torch.Tensor, "to", to)
    tensors = {str(i): (torch.ones(4), torch.float32) for i in range(4)}
    assert upload_if_it_fits(path.accelerator, path.accelerator.side_stream(), tensors, ROOM) is None
    gc.collect()
    assert said == ["work on side", "event on side", "host waits for side", "cache emptied"]
    assert [ref() for ref in made] == [None, None]


def test_room_for_a_second_copy_is_taken_from_the_packs_or_not_taken_at_all() -> None:
    module = torch.nn.Linear(1000, 1000, bias=False)
    assert staging_bytes(module, 2**30) == 4_000_000 + 4_000_000
    assert staging_bytes(module, 31_000_000) == 0
    memory = MemoryModel(token_bytes=10_000, context_bytes=0, pair_bytes=0, head_bytes=0)
    free = 100_000_000
    left = free - staging_bytes(module, free)
    assert memory.fitting_tokens(left, 0, 2**15) <= memory.fitting_tokens(free, 0, 2**15)


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[Upload]:
    """Every upload that is begun; at most one has tensors at any time."""
    made: list[Upload] = []
    own = Upload.__init__

    def noted(self: Upload, *given: Any, **named: Any) -> None:
        assert not any(upload.tensors for upload in made), "a third copy"
        own(self, *given, **named)
        made.append(self)

    monkeypatch.setattr(Upload, "__init__", noted)
    return made


def wait_for_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a look between shards come after the next checkpoint was read."""
    import threading

    own = Staging.stage

    def later(self: Staging, model: LiveModel, path: GpuPath | None) -> None:
        for thread in threading.enumerate():
            if thread.name == "milepost-read-ahead":
                thread.join()
        own(self, model, path)

    monkeypatch.setattr(Staging, "stage", later)


def test_whole_runs_with_and_without_staging_and_without_memory_for_it_score_the_same(
    hub: str,
    tiny_run: Path,
    tmp_path: Path,
    compiler: Compiler,
    uploads: list[Upload],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait_for_the_reader(monkeypatch)
    run(tiny_run, tmp_path / "staged")
    assert len(uploads) == 2, "three checkpoints, the first of which makes the module"
    assert not any(upload.tensors for upload in uploads)
    named = (Optimizations.__init__.__kwdefaults__ or {}) | {"stage_weights": False}
    with monkeypatch.context() as off:
        off.setattr(Optimizations.__init__, "__kwdefaults__", named)
        run(tiny_run, tmp_path / "off")
    assert len(uploads) == 2
    n_failed = 0

    def fail(*_: object) -> None:
        nonlocal n_failed
        n_failed += 1
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Upload, "__init__", fail)
    run(tiny_run, tmp_path / "full")
    assert n_failed == 2
    staged = scores_in(tmp_path / "staged")
    for folder in ("off", "full"):
        found = scores_in(tmp_path / folder)
        assert found.keys() == staged.keys()
        for name, (loglikelihood, greedy) in found.items():
            np.testing.assert_allclose(loglikelihood, staged[name][0], atol=1e-5, rtol=0)
            np.testing.assert_array_equal(greedy, staged[name][1])
