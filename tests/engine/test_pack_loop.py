"""The loop over packs waits only for one flag per pack and for the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from milepost.engine.accelerator import EMULATED_CARD, Accelerator
from milepost.engine.attention_gpu import FlexRunner
from milepost.engine.gpu_path import GpuPath
from milepost.engine.packed import PackedEngine
from milepost.types.sequences import Sequences
from tests.engine.emulated import Compiler, compiler
from tests.engine.models import VOCAB, close, random_requests, tiny_model

__all__ = ["compiler"]

WAITING = (
    "item", "tolist", "cpu", "nonzero", "__bool__", "__int__", "__float__", "__index__", "unique",
    "masked_select", "is_nonzero", "equal", "allclose",
)  # fmt: skip
"""Methods for which the host waits, where the tensor is on a GPU; `numpy` is refused there."""


def shards_of(n_shards: int) -> list[Sequences]:
    return [random_requests(seed=seed) for seed in range(n_shards)]


def engine_of(shards: list[Sequences], architecture: str = "llama") -> PackedEngine:
    longest = max(shards, key=lambda shard: int(np.diff(shard.starts).max()))
    return PackedEngine(tiny_model(architecture), vocab_size=VOCAB, budget_tokens=256, trial=longest)


def count_waits(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls that would make the host wait for a GPU, by name."""
    waits: Counter[str] = Counter()

    def counted(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: torch.Tensor, *others: Any, **named: Any) -> Any:
            waits[name] += 1
            return own(self, *others, **named)

        return call

    for name in WAITING:
        monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name)))
    for name in ("nonzero", "unique", "masked_select", "equal", "allclose"):
        monkeypatch.setattr(torch, name, counted(name, getattr(torch, name)))
    by_index, put = torch.Tensor.__getitem__, torch.Tensor.__setitem__

    def boolean(index: Any) -> bool:
        parts = index if isinstance(index, tuple) else (index,)
        return any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in parts)

    def getitem(self: torch.Tensor, index: Any) -> Any:
        waits["boolean index"] += boolean(index)
        return by_index(self, index)

    def setitem(self: torch.Tensor, index: Any, value: Any) -> None:
        waits["boolean index"] += boolean(index)
        put(self, index, value)

    monkeypatch.setattr(torch.Tensor, "__getitem__", getitem)
    monkeypatch.setattr(torch.Tensor, "__setitem__", setitem)
    return waits


class StubEvent:
    """A replacement of `torch.cuda.Event` that completes when it or a later event is waited for."""

    recorded: ClassVar[list[StubEvent]] = []
    n_waits = 0

    def __init__(self) -> None:
        self.has_come = False

    def record(self, _stream: object) -> None:
        StubEvent.recorded.append(self)

    def query(self) -> bool:
        return self.has_come

    def synchronize(self) -> None:
        if not self.has_come:
            StubEvent.n_waits += 1
        for event in StubEvent.recorded[: StubEvent.recorded.index(self) + 1]:
            event.has_come = True


@pytest.fixture
def stubbed_card(monkeypatch: pytest.MonkeyPatch) -> type[StubEvent]:
    """Run the accelerator's CUDA branches with replaced parts of torch.cuda."""
    StubEvent.recorded, StubEvent.n_waits = [], 0
    empty = torch.empty

    def unpinned(*shape: Any, pin_memory: bool = False, **named: Any) -> torch.Tensor:
        return empty(*shape, **named)

    monkeypatch.setattr(Accelerator, "is_real", property(lambda self: True))
    monkeypatch.setattr(Accelerator, "card", property(lambda self: EMULATED_CARD))
    monkeypatch.setattr(torch, "empty", unpinned)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**34, 2**36))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2**29)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.cuda, "Event", StubEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**34, 2**34))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)

    def forbidden(*_: object) -> None:
        raise AssertionError("nobody waits for everything")

    monkeypatch.setattr(torch.cuda, "synchronize", forbidden)
    return StubEvent


@pytest.mark.parametrize(
    "architecture",
    [
        "llama",
        "gemma2",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mistral with a window", "gpt2", "cohere")),
    ],
)
def test_nothing_in_the_loop_makes_the_host_wait(
    architecture: str, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(6)
    engine = engine_of(shards, architecture)
    list(engine.score_stream(shards))
    assert engine.gpu is not None
    packs, waits = engine.gpu.counts.packs, engine.gpu.accelerator.waits
    hidden = count_waits(monkeypatch)
    list(engine.score_stream(shards))
    packs, waits = engine.gpu.counts.packs - packs, engine.gpu.accelerator.waits - waits
    assert +hidden == Counter()
    assert packs >= 4
    assert waits <= 2 * packs


def test_the_host_waits_for_one_event_per_pack_and_not_while_the_device_is_idle(
    compiler: Compiler, stubbed_card: type[StubEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(8)
    engine = engine_of(shards)
    expected = list(engine.score_stream(shards))
    assert engine.gpu is not None
    packs, before = engine.gpu.counts.packs, stubbed_card.n_waits
    launched: list[int] = []
    runner = engine.gpu.runner
    own_run, own_wait = runner.run, stubbed_card.synchronize

    def run(*given: Any, **named: Any) -> Any:
        launched.append(len(stubbed_card.recorded))
        return own_run(*given, **named)

    idle: list[int] = []

    def wait(event: StubEvent) -> None:
        # Whatever was asked of the device before this event is done when it comes; is there more?
        nth = stubbed_card.recorded.index(event)
        if not any(at > nth for at in launched):
            idle.append(nth)
        own_wait(event)

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(stubbed_card, "synchronize", wait)
    again = list(engine.score_stream(shards))
    for one, other in zip(again, expected, strict=True):
        close(one, other, 0)
    packs = engine.gpu.counts.packs - packs
    assert packs >= 5
    assert stubbed_card.n_waits - before <= packs + 2
    assert len(idle) <= 3, "only the last pack and the last results are waited for with nothing behind them"


def test_the_module_is_unchanged_between_two_shards_of_a_stream(compiler: Compiler) -> None:
    shards = shards_of(6)
    engine = engine_of(shards)
    model = engine.model.module
    tokens = torch.arange(5, 25)[None]
    before = model(tokens).logits
    for _ in engine.score_stream(shards):
        assert "forward" not in vars(engine.model.layers(2)[0])
        assert torch.equal(model(tokens).logits, before)


def test_a_stream_that_is_not_read_to_its_end_leaves_the_module_unchanged(compiler: Compiler) -> None:
    shards = shards_of(6)
    engine = engine_of(shards)
    stream = engine.score_stream(shards)
    first = next(stream)
    del stream
    assert "forward" not in vars(engine.model.layers(2)[0])
    again = list(engine.score_stream(shards))
    assert len(again) == len(shards)
    close(again[0], first, 0)


@pytest.mark.parametrize("where", ["stage", "careful run"])
def test_memory_that_runs_out_while_a_pack_is_uploaded_or_run_again_loses_nothing(
    where: str, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(3)
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[50] = float("nan")
    longest = max(shards, key=lambda shard: int(np.diff(shard.starts).max()))
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=2048, trial=longest)
    expected = list(engine.score_stream(shards))
    assert engine.gpu is not None
    left = [1]

    def fail_once() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")

    own_run, own_stage = FlexRunner.run, GpuPath.stage

    def run(self: FlexRunner, *given: Any, careful: bool = False) -> Any:
        if careful:
            fail_once()
        return own_run(self, *given, careful=careful)

    def stage(self: GpuPath, pack: Any) -> Any:
        fail_once()
        return own_stage(self, pack)

    if where == "stage":
        monkeypatch.setattr(GpuPath, "stage", stage)
    else:
        monkeypatch.setattr(FlexRunner, "run", run)
    for one, other in zip(engine.score_stream(shards), expected, strict=True):
        close(one, other, 1e-4)
    assert left[0] <= 0
    assert engine.budget_tokens == 1024
