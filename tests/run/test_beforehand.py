"""A long run says what it will take before it begins, and asks where somebody is there to be asked."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from milepost.errors import MilepostError
from milepost.plan.shards import Shard
from milepost.run import beforehand
from milepost.run.beforehand import Beforehand
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_tasks


class Slow:
    """ShardAnswers nothing, and takes its time: 10 ms for each request, or as many as `pace` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pace: Mapping[str, float] | None = None) -> None:
        self.now = 0.0
        self.asked: list[int] = []
        self._pace = pace or {}
        monkeypatch.setattr(beforehand.time, "monotonic", lambda: self.now)

    joins_shards = False

    def answer(self, task: Any, shard: Any) -> None:
        self.asked.append(shard.last - shard.first)
        self.now += self._pace.get(task.name, 0.01) * (shard.last - shard.first)


class Asked:
    """As `scoring.Target`: for each task one shard of 40 docs of 3 requests, 10 tokens each."""

    def __init__(self, *names: str) -> None:
        self.missing = [(Task(name), Shard("shard", 0, 120, 0, 120)) for name in names]

    def missing_shards(self) -> list[Any]:
        return self.missing


class Task:
    doc_ids = np.repeat(np.arange(40), 3)

    class encoded:
        request_of = np.arange(120)

    def __init__(self, name: str) -> None:
        self.name = name
        self.generations = SimpleNamespace(settings=("until a full stop",) if name == "texts" else ())

    def tokens_of(self, first: int, last: int) -> int:
        return 10 * (last - first)

    def asks_texts(self, shard: Any) -> bool:
        return bool(self.generations.settings)


class Compiling(Slow):
    """A GPU: its first stream takes 20 s, and each shard 75 ms."""

    joins_shards = True
    streams: list[int]

    def answer_joined(self, shards: Any) -> Iterator[None]:
        self.streams = [*getattr(self, "streams", []), len(shards)]
        if len(self.streams) == 1:
            self.now += 20.0
        for _ in shards:
            self.now += 0.075
            yield


@contextmanager
def aside() -> Iterator[None]:
    yield


def measure(n_tokens: int, slow: Slow, *names: str, ask: bool = False) -> None:
    inference: Any = slow
    target: Any = Asked(*(names or ("farm",)))
    Beforehand(n_tokens, ask=ask, aside=aside).measure(inference, target)


def test_a_long_run_is_measured_on_whole_docs_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow(monkeypatch)
    measure(1_000_000, slow)
    assert slow.asked == [3, 3, 24, 96]
    assert "about 17 min for what is not scored yet, as 32 docs of farm took 1.0 s" in capsys.readouterr().err


def test_each_of_the_largest_tasks_is_measured_for_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow(monkeypatch, {"texts": 0.09})
    measure(1_000_000, slow, "farm", "texts")
    assert slow.asked == [3, 3, 3, 3, 24, 24]
    # 9 ms for each token of one half, 1 ms of the other
    told = "about 83 min for what is not scored yet, as 8 docs of farm took 0.2 s, 8 docs of texts took 2.2 s"
    assert told in capsys.readouterr().err


def test_many_tasks_are_not_all_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    measure(1_000_000, slow, *(f"subject-{number}" for number in range(57)))
    once = 1 + beforehand.MOST_TASKS  # what is done only once is done with the first of them
    assert slow.asked[:once] == [3] * once
    assert slow.asked[once] == 24


def test_a_run_that_turns_out_short_is_measured_no_longer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(beforehand, "TOLD_S", 1001.0)  # 1 ms for each token
    slow = Slow(monkeypatch)
    measure(1_000_000, slow)
    assert slow.asked == [3, 3]
    assert capsys.readouterr().err == ""


def test_a_short_run_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow(monkeypatch)
    measure(100_000, slow)
    assert slow.asked == []
    assert capsys.readouterr().err == ""


def test_compilation_is_not_counted_where_shards_are_joined(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Compiling(monkeypatch)
    names = [f"subject-{number}" for number in range(57)]
    measure(57 * 1200 * 40, slow, *names, ask=True)  # 40 checkpoints of 57 shards: 171 s
    assert slow.streams == [57, 57]
    told = "about 3 min for what is not scored yet, as 68,400 tokens took 4.3 s once compiled"
    assert capsys.readouterr().err == f"{told}\n"


def test_whole_shards_are_measured_up_to_some_full_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beforehand, "JOINED_TOKENS", 3000)
    slow = Compiling(monkeypatch)
    measure(1_000_000, slow, *(f"subject-{number}" for number in range(57)))
    assert slow.streams == [3, 3]
    assert slow.asked == []


def test_texts_are_measured_on_docs_beside_joined_shards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Compiling(monkeypatch, {"texts": 0.09})
    measure(1_000_000, slow, "farm", "texts")
    assert slow.streams[0] == 1
    assert slow.asked == [3, 3, 24]
    assert "once compiled, 8 docs of texts took 2.2 s" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["\n", "y\n"])
def test_who_is_there_is_asked_and_may_say_yes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    measure(1_000_000, Slow(monkeypatch), ask=True)
    assert "go on?" in capsys.readouterr().err


def test_who_says_no_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    with pytest.raises(MilepostError, match="not begun"):
        measure(1_000_000, Slow(monkeypatch), ask=True)


def test_a_run_measures_its_own_first_docs_and_scores_them_all_the_same(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beforehand, "FEW_TOKENS", 1)
    monkeypatch.setattr(beforehand, "TOLD_S", 0.0)
    tasks = write_tasks(tmp_path / "tasks")
    called = call("run", tiny_llama, "-t", "where", "--include-path", tasks, "-o", tmp_path / "out", "--yes")
    assert called.status == 0, called.err
    assert "for what is not scored yet, as 8 docs of where took" in called.err
    assert "acc" in called.out
