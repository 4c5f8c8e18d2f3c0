"""Before a long run its time is said, and a person at the terminal is asked."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milepost.errors import MilepostError
from milepost.plan.encode import EncodedTask
from milepost.plan.plan import Docs, TaskPlan
from milepost.plan.shards import Generations, Shard
from milepost.run.display.progress import show_progress
from milepost.run.display.timing import Clock, LongRunPolicy
from milepost.run.scoring import first_docs
from milepost.run.scoring.first_docs import check_run_time
from milepost.run.target import PlannedShard
from milepost.types.checkpoints import Checkpoint
from milepost.types.generation import Generation
from milepost.types.sequences import Sequences
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_tasks

N_DOCS, N_CHOICES, N_TOKENS = 40, 3, 10


class Slow:
    """Stands for `Inference`: takes 10 ms for each request, or as many as `pace` says."""

    joins_shards = False

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pace: Mapping[str, float] | None = None) -> None:
        self.now = 0.0
        self.asked: list[int] = []
        self._pace = pace or {}
        monkeypatch.setattr(first_docs.time, "monotonic", lambda: self.now)

    def answer(self, task: TaskPlan, shard: Shard) -> None:
        self.asked.append(shard.last - shard.first)
        self.now += self._pace.get(task.name, 0.01) * (shard.last - shard.first)


class Compiling(Slow):
    """A GPU: its first stream takes 20 s, and each shard 75 ms."""

    joins_shards = True

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pace: Mapping[str, float] | None = None) -> None:
        super().__init__(monkeypatch, pace)
        self.streams: list[int] = []

    def answer_joined(self, shards: Sequence[PlannedShard]) -> Iterator[None]:
        self.streams.append(len(shards))
        if len(self.streams) == 1:
            self.now += 20.0
        for _ in shards:
            self.now += 0.075
            yield


def planned(name: str) -> PlannedShard:
    """A task of one shard: 40 docs of 3 requests, 10 tokens each; texts are generated for `texts`."""
    n = N_DOCS * N_CHOICES
    asked = (Generation(until=(".",), max_new_tokens=0),) if name == "texts" else ()
    task = TaskPlan(
        name=name,
        task_id=name,
        asked_id=name,
        docs_id=name,
        encoded=EncodedTask(
            sequences=Sequences(
                tokens=np.arange(n * N_TOKENS, dtype=np.int32),
                starts=np.arange(n + 1, dtype=np.int64) * N_TOKENS,
                n_targets=np.ones(n, np.int32),
            ),
            request_of=np.arange(n, dtype=np.int32),
            n_requests=n,
            n_truncated=0,
        ),
        kinds=np.zeros(n, np.int8),
        doc_ids=np.repeat(np.arange(N_DOCS), N_CHOICES),
        generations=Generations(asked, np.full(n, len(asked) - 1, np.int16)),
        n_docs=N_DOCS,
        docs=Docs({}),
        shards=(shard := Shard("shard", 0, n, 0, n),),
        choices=None,
    )
    return task, shard


def measure(
    n_tokens: int, slow: Slow, *names: str, ask: bool = False, n_parameters: int | None = 10**9
) -> None:
    checkpoint = Checkpoint(
        series="run", name="step-1", step=1, source="", format="safetensors", location=Path()
    )
    inference: Any = slow
    missing = [planned(name) for name in names or ("farm",)]
    names = names or ("farm",)
    clock = Clock({checkpoint: dict.fromkeys(names, n_tokens // len(names))})
    with show_progress(1, clock) as progress:
        check_run_time(inference, n_parameters, missing, progress, LongRunPolicy(ask=ask))


def test_a_long_run_is_measured_on_whole_docs_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow(monkeypatch)
    measure(1_000_000, slow)
    assert slow.asked == [3, 3, 24, 96]
    assert "about 17 min left (32 docs of farm took 1.0 s)" in capsys.readouterr().err


def test_each_of_the_largest_tasks_is_measured_for_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow(monkeypatch, {"texts": 0.09})
    measure(1_000_000, slow, "farm", "texts")
    assert slow.asked == [3, 3, 3, 3, 24, 24]
    # 9 ms for each token of one half, 1 ms of the other
    told = "about 83 min left (8 docs of farm took 0.2 s, 8 docs of texts took 2.2 s)"
    assert told in capsys.readouterr().err


def test_many_tasks_are_not_all_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    measure(1_000_000, slow, *(f"subject-{number}" for number in range(57)))
    once = 1 + first_docs.MOST_TASKS  # what is done only once is done with the first of them
    assert slow.asked[:once] == [3] * once
    assert slow.asked[once] == 24


def test_a_run_that_turns_out_short_is_measured_no_longer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(first_docs, "LONG_S", 1001.0)  # 1 ms for each token
    slow = Slow(monkeypatch)
    measure(1_000_000, slow)
    assert slow.asked == [3, 3]
    assert capsys.readouterr().err == ""


def test_a_short_run_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow(monkeypatch)
    measure(99_000, slow)
    assert slow.asked == [3], "one doc, before the first shard is timed"
    assert capsys.readouterr().err == ""


def test_a_run_of_a_small_model_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow(monkeypatch)
    measure(1_000_000, slow, n_parameters=9_000_000)
    assert slow.asked == [3]
    measure(1_000_000, slow, n_parameters=11_000_000)
    assert slow.asked == [3, 3, 3, 24, 96]
    measure(1_000_000, slow, n_parameters=None)
    assert slow.asked[5:] == [3, 3, 24, 96]


def test_compilation_is_not_counted_where_shards_are_joined(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Compiling(monkeypatch)
    names = [f"subject-{number}" for number in range(57)]
    measure(57 * 1200 * 40, slow, *names, ask=True)  # 40 checkpoints of 57 shards: 171 s
    assert slow.streams == [57, 57]
    told = "about 3 min left (68,400 tokens took 4.3 s once compiled)"
    assert capsys.readouterr().err == f"{told}\n"


def test_whole_shards_are_measured_up_to_some_full_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_docs, "JOINED_TOKENS", 3000)
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
    monkeypatch.setattr(first_docs, "FEW_WORK", 1)
    monkeypatch.setattr(first_docs, "FEW_OPERATIONS", 1)
    monkeypatch.setattr(first_docs, "LONG_S", 0.0)
    tasks = write_tasks(tmp_path / "tasks")
    called = call("run", tiny_llama, "-t", "where", "--include-path", tasks, "-o", tmp_path / "out", "--yes")
    assert called.status == 0, called.err
    assert "left (8 docs of where took" in called.err
    assert "acc" in called.out
