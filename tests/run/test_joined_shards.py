"""An engine that joins shards is given all of a checkpoint; each is stored when it is complete."""

from __future__ import annotations

import errno
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import milepost
from milepost.engine.padded import PaddedEngine
from milepost.errors import StorageError
from milepost.run.scoring.record_writer import RecordWriter
from milepost.store import atomic_files as files
from milepost.store import open_folder
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import write_together
from milepost.types.sequences import Scores, Sequences
from milepost.types.shard_answers import ShardAnswers
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_tasks

Evaluate = Callable[[Path], milepost.Results]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


class Joining:
    """Makes the padded engine join shards: scores of one come when the next but one was taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: list[int] = []
        """Shards of each stream."""
        self.on_taken: Callable[[int], None] = lambda number: None
        joining = self

        def score_stream(engine: PaddedEngine, shards: Iterable[Sequences]) -> Iterator[Scores]:
            waiting: list[Sequences] = []
            joining.streams.append(0)
            for shard in shards:
                joining.streams[-1] += 1
                joining.on_taken(sum(joining.streams))
                waiting.append(shard)
                if len(waiting) == 3:
                    yield engine.score(waiting.pop(0))
            for shard in waiting:
                yield engine.score(shard)

        monkeypatch.setattr(PaddedEngine, "joins_shards", True)
        monkeypatch.setattr(PaddedEngine, "score_stream", score_stream)


def scores_in(folder: Path) -> dict[str, bytes]:
    results, found = open_folder(folder), {}
    for path in (folder / "store" / "scores").rglob("[!.]*.parquet"):
        loglikelihood, greedy = results.read_scores(path)
        found[f"{path.parents[1].name}/{path.name}"] = loglikelihood.tobytes() + greedy.tobytes()
    return found


def asked(source: Path, tasks: Path, out: Path) -> list[Any]:
    shards = ["--shard-tokens", "30", "--engine", "padded"]
    return ["run", source, "-t", "farm,prose", "--include-path", tasks, "-o", out, *shards]


@pytest.fixture(scope="module")
def usual(tiny_run: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("usual") / "out"
    assert call(*asked(tiny_run, tasks, out)).status == 0
    return out


def test_all_shards_of_a_checkpoint_are_one_stream_with_the_same_records(
    tiny_run: Path, tasks: Path, usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joining, out = Joining(monkeypatch), tmp_path / "out"
    called = call(*asked(tiny_run, tasks, out))
    assert called.status == 0, called.err
    n_shards = len(scores_in(usual)) // 3
    assert n_shards > 5
    assert joining.streams == [n_shards] * 3
    assert scores_in(out) == scores_in(usual)
    assert os.listdir(open_folder(out).leases_folder) == []


def test_an_interrupt_keeps_what_is_complete_and_the_next_run_scores_the_rest(
    tiny_run: Path, tasks: Path, usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joining, out = Joining(monkeypatch), tmp_path / "out"

    def interrupt(number: int) -> None:
        if number == 6:
            raise KeyboardInterrupt

    joining.on_taken = interrupt
    assert call(*asked(tiny_run, tasks, out)).status == 130
    stored = scores_in(out)
    assert len(stored) == 3  # five were taken, two of them were under way
    assert os.listdir(open_folder(out).leases_folder) == []
    joining.streams.clear()
    joining.on_taken = lambda number: None
    assert call(*asked(tiny_run, tasks, out)).status == 0
    n_shards = len(scores_in(usual)) // 3
    assert joining.streams == [n_shards - 3, n_shards, n_shards]
    assert scores_in(out) == scores_in(usual)


def test_a_full_disk_ends_the_run_in_one_line_and_the_next_one_goes_on(
    tiny_run: Path, tasks: Path, usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Joining(monkeypatch)
    out, replace, named = tmp_path / "out", os.replace, []

    def full(old: Any, new: Any) -> None:
        named.append(str(new))
        if sum("/scores/" in path for path in named) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        called = call(*asked(tiny_run, tasks, out))
    assert called.status == 1
    assert "cannot write" in called.err
    assert "No space left on device" in called.err
    assert "Traceback" not in called.err
    assert len(scores_in(out)) == 4
    assert os.listdir(open_folder(out).leases_folder) == []
    assert call(*asked(tiny_run, tasks, out)).status == 0
    assert scores_in(out) == scores_in(usual)


def test_shards_are_stored_while_later_ones_are_scored(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joining, out = Joining(monkeypatch), tmp_path / "out"
    there: list[int] = []

    def look(number: int) -> None:
        for _ in range(200):  # the thread that writes need not be ready at once
            there.append(len(list((out / "store").rglob("scores/*/*/[!.]*.parquet"))))
            if there[-1] >= min(number, 8) - 3:
                return
            threading.Event().wait(0.02)

    joining.on_taken = look
    assert call(*asked(tiny_run, tasks, out)).status == 0
    assert max(there) >= 5


def test_other_processes_are_left_the_shards_they_have(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that someone else holds a lease on is not in the stream, and is waited for."""
    from milepost.store.leases import Leases

    joining, out = Joining(monkeypatch), tmp_path / "out"
    take = Leases._take
    refused: list[Any] = []

    def taken(self: Leases, unit: str) -> Path | None:
        if "figures" not in unit and not refused:
            refused.append(unit)
            return None
        return take(self, unit)

    monkeypatch.setattr(Leases, "_take", taken)
    monkeypatch.setattr("milepost.run.scoring.shard_scoring.LOOK_AGAIN_S", 0.01)
    assert call(*asked(tiny_run / "checkpoint-10", tasks, out)).status == 0
    assert joining.streams[1:] == [1]


# ---- the thread that writes ---------------------------------------------------------------------------


def test_files_that_wait_together_share_one_sync_of_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    sync = inside.sync_folder

    def counting(folder: Path) -> None:
        synced.append(folder)
        sync(folder)

    monkeypatch.setattr(inside, "sync_folder", counting)
    write_together([(tmp_path / name, name.encode()) for name in ("a", "b", "c")])
    assert synced == [tmp_path]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_what_is_flushed_is_there_and_was_told_of(tmp_path: Path) -> None:
    told: list[str] = []
    with RecordWriter() as writer:
        for name in "abcd":
            writer.write(tmp_path / name, name.encode, functools.partial(told.append, name))
        writer.flush()
        assert [(tmp_path / name).read_bytes() for name in "abcd"] == [b"a", b"b", b"c", b"d"]
        assert told == list("abcd")


def test_a_full_disk_is_raised_where_the_files_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr("milepost.run.scoring.record_writer.write_together", full)
    writer = RecordWriter().__enter__()
    writer.write(tmp_path / "a", bytes, lambda: None)
    with pytest.raises(StorageError, match="no space"):
        writer.flush()
    with pytest.raises(StorageError, match="no space"):
        writer.write(tmp_path / "b", bytes, lambda: None)
    with pytest.raises(StorageError, match="no space"):
        writer.__exit__(None)


def test_scores_of_a_shard_are_written_as_the_store_reads_them(tmp_path: Path) -> None:
    results = milepost.store.ResultsFolder.create(tmp_path / "out")
    path = results.score_path("model", "float32-v1", "shard")
    content = results.scores_bytes(
        path, ShardAnswers(np.array([-1.5, np.nan]), np.array([True, False])), {"engine": "packed"}
    )
    write_together([(path, content)])
    loglikelihood, greedy = results.read_scores(path)
    assert (loglikelihood[0], greedy.tolist()) == (-1.5, [True, False])
