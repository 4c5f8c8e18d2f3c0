"""Following a run in this process: what is evaluated, in which order, and when it ends."""

from __future__ import annotations

import importlib
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import SourceError, TaskError
from milepost.run.callbacks import NoCallback, RunCallback
from milepost.run.config import EvalConfig
from milepost.run.display.journal import Journal
from milepost.sources import Steps
from milepost.tasks.settings import TaskSettings
from milepost.types.checkpoints import Checkpoint
from milepost.watching import EndReason, WatchConfig, watch_run
from milepost.watching.exec_command import ExecCommand
from milepost.watching.waiting import Waiter
from milepost.watching.watcher import WatchReport
from tests.run.own_tasks import write_task


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    docs = [{"text": f"the {animal} sat on the"} for animal in ("cat", "dog", "rat")]
    write_task(
        folder,
        "where",
        docs,
        {
            "output_type": "multiple_choice",
            "doc_to_text": "{{text}}",
            "doc_to_choice": ["mat", "log"],
            "doc_to_target": 0,
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        },
    )
    return folder


class Told(NoCallback):
    """Remembers which checkpoints got figures, and does something at the first."""

    def __init__(self, at_first: Callable[[], object] = lambda: None) -> None:
        self.names: list[str] = []
        self.at_first = at_first

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        if not self.names:
            self.at_first()
        self.names.append(checkpoint.name)


def watch(
    run: Path, questions: Path, listener: RunCallback, said: list[str] | None = None, **given: Any
) -> WatchReport:
    steps = given.pop("steps", None)
    settings = WatchConfig(
        run=EvalConfig(
            sources=(str(run),),
            tasks=TaskSettings(names=("where",), include_path=questions),
            output_path=run.parent / "results",
            steps=Steps.parse(str(steps)) if steps else None,
            engine="padded",
        ),
        settle_s=0.1,
        every_s=0.3,
        **given,
    )
    with Journal(logging.WARNING) as journal:
        return watch_run(
            settings,
            journal,
            listener,
            say=(said if said is not None else []).append,
            has_ended=lambda: False,
        )


@pytest.mark.parametrize(("order", "expected"), [("oldest", [10, 20, 30]), ("newest", [30, 20, 10])])
def test_what_is_there_is_evaluated_in_the_order_asked_for(
    order: str, expected: list[int], tiny_run: Path, questions: Path, tmp_path: Path
) -> None:
    told = Told()
    run = shutil.copytree(tiny_run, tmp_path / "run")
    report = watch(run, questions, told, order=order, until=30)
    assert told.names == [f"checkpoint-{step}" for step in expected]
    assert report.ended is EndReason.LAST_STEP
    assert report.failures == {}


def test_the_run_may_begin_after_the_watch_and_save_while_it_works(
    tiny_run: Path, questions: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def say(line: str) -> None:
        if "does not exist" in line:
            shutil.copytree(tiny_run / "checkpoint-10", run / "checkpoint-10")

    said = Lines(say)
    told = Told(at_first=lambda: shutil.copytree(tiny_run / "checkpoint-20", run / "checkpoint-20"))
    watch(run, questions, told, said, until=20)
    assert told.names == ["checkpoint-10", "checkpoint-20"]


def test_each_look_lists_a_source_once(
    tiny_run: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    listed, looks = [], []
    discover = importlib.import_module("milepost.sources.discover")
    find, listen = discover.find_local, Waiter.listen

    def find_local(source: str, *given: Any) -> Any:
        listed.append(source)
        return find(source, *given)

    def counting(waiter: Waiter) -> None:
        looks.append(waiter)
        listen(waiter)

    monkeypatch.setattr(discover, "find_local", find_local)
    monkeypatch.setattr(Waiter, "listen", counting)
    watch(run, questions, Told(), until=30)
    assert len(listed) == len(looks) > 1


class Lines(list[str]):
    def __init__(self, at_each: Callable[[str], object]) -> None:
        self.at_each = at_each

    def append(self, line: str) -> None:
        super().append(line)
        self.at_each(line)


def test_a_checkpoint_that_is_cut_short_is_left_alone_and_taken_once_whole(
    tiny_run: Path, questions: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoint-20"))
    whole = (tiny_run / "checkpoint-20" / "model.safetensors").read_bytes()
    shutil.copytree(tiny_run / "checkpoint-20", run / "checkpoint-20")
    cut = run / "checkpoint-20" / "model.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    told = Told()
    said = Lines(lambda line: cut.write_bytes(whole) if line == "checkpoint-30: scored" else None)
    report = watch(run, questions, told, said, order="newest", until=30)
    assert sorted(told.names) == ["checkpoint-10", "checkpoint-20", "checkpoint-30"]
    assert any(line.startswith("checkpoint-20: not yet, model.safetensors") for line in said)
    assert report.failures == {}


def test_one_that_stays_broken_is_named_at_the_end(tiny_run: Path, questions: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "checkpoint-20" / "config.json").write_text("")
    report = watch(run, questions, Told(), until=30)
    assert [one.name for one in report.scored] == ["checkpoint-10", "checkpoint-30"]
    assert list(report.failures.values()) == ["config.json is empty"]


def test_steps_beyond_the_last_are_not_evaluated_but_end_the_watch(
    tiny_run: Path, questions: Path, tmp_path: Path
) -> None:
    told = Told()
    run = shutil.copytree(tiny_run, tmp_path / "run")
    assert watch(run, questions, told, until=25).ended is EndReason.LAST_STEP
    assert told.names == ["checkpoint-10", "checkpoint-20"]
    assert watch(run, questions, told, steps="0:20:20").ended is EndReason.LAST_STEP


def test_a_second_watch_scores_nothing_again(tiny_run: Path, questions: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    watch(run, questions, Told(), until=30)
    again = watch(run, questions, Told(), until=30)
    assert again.scored == []
    assert len(again.reused) == 3


def test_a_plateau_ends_the_watch(tiny_run: Path, questions: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    settings = WatchConfig(
        run=EvalConfig(
            sources=(str(run),),
            tasks=TaskSettings(names=("where",), include_path=questions),
            output_path=tmp_path / "results",
        ),
        settle_s=0.1,
    )
    with Journal(logging.WARNING) as journal:
        report = watch_run(settings, journal, Told(), say=lambda line: None, has_ended=lambda: True)
    assert report.ended is EndReason.PLATEAU


def test_an_unknown_task_is_refused_before_anything_is_waited_for(tmp_path: Path) -> None:
    settings = WatchConfig(
        run=EvalConfig(
            sources=(str(tmp_path / "later"),),
            tasks=TaskSettings(names=("no_such_task",)),
            output_path=tmp_path / "results",
        )
    )
    with Journal(logging.WARNING) as journal, pytest.raises(TaskError, match="no_such_task"):
        watch_run(settings, journal, Told(), say=lambda line: None, has_ended=lambda: False)
    assert not (tmp_path / "results").exists()


def test_a_repository_that_is_not_there_is_not_waited_for(hub: str, tmp_path: Path) -> None:
    settings = WatchConfig(
        run=EvalConfig(
            sources=("hf://nobody/nothing@step-*",),
            tasks=TaskSettings(names=("arc_easy",)),
            output_path=tmp_path / "results",
        )
    )
    with Journal(logging.WARNING) as journal, pytest.raises(SourceError):
        watch_run(settings, journal, Told(), say=lambda line: None, has_ended=lambda: False)


def test_the_users_command_runs_once_for_each_checkpoint(
    tiny_run: Path, questions: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    log = tmp_path / "log"
    command = f'echo "$MILEPOST_SERIES $MILEPOST_CHECKPOINT $MILEPOST_STEP" >> {log}'
    watch(run, questions, ExecCommand(command), until=20)
    watch(run, questions, ExecCommand(command), until=30)
    assert log.read_text().splitlines() == [f"run checkpoint-{step} {step}" for step in (10, 20, 30)]


def test_metrics_are_said_as_they_come(tiny_run: Path, questions: Path, tmp_path: Path) -> None:
    said: list[str] = []
    milepost.watch(
        tiny_run, "where", include_path=questions, output_path=tmp_path / "out", until=30, settle_s=0.1,
        engine="padded", say=said.append,
    )  # fmt: skip
    told = [line for line in said if "where acc" in line]
    assert [line.split(":")[0] for line in told] == [f"tiny-run checkpoint-{step}" for step in (10, 20, 30)]
    assert re.search(r"where acc \d\.\d{4} (± \d\.\d{4}|−\d\.\d{4} \+\d\.\d{4})", told[0])
    assert said.index(told[0]) < said.index("checkpoint-30: scored")
