"""Metrics are computed by another thread while the next checkpoint is scored, and nobody notices."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import ResultsError, StorageError
from milepost.run.scoring import streaming
from milepost.store import ResultsFolder
from milepost.store.leases import Leases
from milepost.tasks.lm_eval.question_set import LmEvalTasks
from milepost.types.checkpoints import Checkpoint
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_task, write_tasks

OWN_CODE = """
import threading
threads = []

def process_results(doc, results):
    threads.append(threading.current_thread() is threading.main_thread())
    return {"acc": float(threads[-1])}
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


class Watched:
    """Where and when each stage of a run was at work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: Counter[str] = Counter()
        self.events: list[str] = []
        self._compute, self._score = LmEvalTasks.compute_metrics, streaming.score_shards
        monkeypatch.setattr(LmEvalTasks, "compute_metrics", lambda *arguments: self._computing(*arguments))
        monkeypatch.setattr(streaming, "score_shards", self._scoring)
        self.at_next = threading.Event()
        """Set when the second checkpoint is being scored."""

    def _computing(self, *arguments: Any) -> Any:
        self.threads[threading.current_thread().name] += 1
        if not self.at_next.is_set():  # the first: goes on only while the second is scored
            assert self.at_next.wait(timeout=60)
        self.events.append("metrics")
        return self._compute(*arguments)

    def _scoring(self, *arguments: Any) -> Any:
        if "scoring" in self.events:
            self.at_next.set()
        self.events.append("scoring")
        return self._score(*arguments)


def test_no_metric_is_computed_in_the_main_thread_and_the_next_checkpoint_is_scored_meanwhile(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    results = milepost.evaluate(tiny_run, "farm,prose", include_path=tasks, output_path=tmp_path / "out")
    assert len(results.scored) == 3
    assert sum(watched.threads.values()) == 3
    assert threading.main_thread().name not in watched.threads
    assert watched.events[:2] == ["scoring", "scoring"]


def test_figures_are_the_same_as_without_a_thread(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = milepost.evaluate(tiny_run, "farm,prose", include_path=tasks, output_path=tmp_path / "beside")
    from milepost.run.plans.planning import PlannedTasks

    monkeypatch.setattr(PlannedTasks, "needs_main_thread", lambda self: True)
    watched = Counter[str]()
    compute = LmEvalTasks.compute_metrics

    def computing(*arguments: Any) -> Any:
        watched[threading.current_thread().name] += 1
        return compute(*arguments)

    monkeypatch.setattr(LmEvalTasks, "compute_metrics", computing)
    alone = milepost.evaluate(tiny_run, "farm,prose", include_path=tasks, output_path=tmp_path / "alone")
    assert watched == {threading.main_thread().name: 3}
    assert alone.to_records() == beside.to_records()


def test_code_that_a_task_brings_along_runs_in_the_main_thread(tiny_run: Path, tmp_path: Path) -> None:
    docs = [{"text": "the cat sat on the", "end": " mat"}]
    config = {
        "output_type": "loglikelihood",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{end}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    path = write_task(tmp_path / "tasks", "own", docs, config)
    path.write_text(path.read_text() + "process_results: !function own_code.process_results\n")
    (path.parent / "own_code.py").write_text(OWN_CODE)
    out = tmp_path / "out"
    results = milepost.evaluate(
        tiny_run, "own", include_path=path.parent, allow_task_code=True, output_path=out
    )
    assert [row.value for row in results.rows()] == [1.0, 1.0, 1.0]


class Heard:
    """A `run.callbacks.RunCallback` that notes who was told of, and by which thread."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.threads: set[threading.Thread] = set()

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        self.threads.add(threading.current_thread())

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        self.threads.add(threading.current_thread())
        self.told.append(checkpoint.name)

    def end(self) -> None:
        self.threads.add(threading.current_thread())


def run_with(
    listener: Heard, source: Path, tasks: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[Any, list[str]]:
    """The outcome, and the words about each checkpoint on stderr."""
    from milepost.run.config import EvalConfig
    from milepost.run.display.journal import Journal
    from milepost.run.evaluation import evaluate_run

    settings = EvalConfig.from_options(source, "where", include_path=tasks, output_path=out)
    with Journal() as journal:
        outcome = evaluate_run(settings, journal, listener)
    lines = capsys.readouterr().err.splitlines()
    return outcome, [line.partition(": ")[2].partition(",")[0] for line in lines if line.startswith("[")]


def test_order_of_output_and_of_what_listeners_are_told_is_that_of_the_checkpoints(
    tiny_run: Path, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = shutil.copytree(tiny_run, tmp_path / "run"), tmp_path / "out"
    shutil.copytree(run / "checkpoint-30", run / "checkpoint-15")
    milepost.evaluate(run, "where", include_path=tasks, output_path=out, steps="15:15")
    weights = run / "checkpoint-20" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    capsys.readouterr()
    heard = Heard()
    outcome, said = run_with(heard, run, tasks, out, capsys)
    assert heard.told == ["checkpoint-10", "checkpoint-15", "checkpoint-30"]
    assert heard.threads == {threading.main_thread()}
    assert [words.split(":")[0] for words in said] == ["scored", "already scored", "already scored"]
    assert [failure.checkpoint.name for failure in outcome.failed] == ["checkpoint-20"]


def failing(error: Callable[[], Exception]) -> Callable[..., Any]:
    """`run.checkpoint_metrics.write_metrics` that fails for the second checkpoint it is called for."""
    import milepost.run.metrics.checkpoint_metrics as checkpoint_metrics

    write, called = checkpoint_metrics.write_metrics, []

    def write_metrics(*arguments: Any) -> Any:
        called.append(arguments)
        if len(called) == 2:
            raise error()
        return write(*arguments)

    return write_metrics


def test_a_record_that_cannot_be_read_costs_the_metrics_of_its_own_checkpoint(
    tiny_run: Path,
    tasks: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import milepost.run.metrics.checkpoint_metrics as checkpoint_metrics

    monkeypatch.setattr(checkpoint_metrics, "write_metrics", failing(lambda: ResultsError("it is torn")))
    outcome, said = run_with(Heard(), tiny_run, tasks, tmp_path / "out", capsys)
    assert [(one.checkpoint.name, one.reason) for one in outcome.failed] == [("checkpoint-20", "it is torn")]
    assert said == ["scored", "cannot be used: it is torn", "scored"]
    log = next((tmp_path / "out" / "checkpoint-20").rglob("evaluation.log")).read_text("utf-8")
    assert "ERROR it is torn" in log


def test_a_full_disk_in_the_thread_ends_the_run_in_one_line(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import milepost.run.metrics.checkpoint_metrics as checkpoint_metrics

    full = failing(lambda: StorageError("cannot write it: No space left on device", "free space"))
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_metrics, "write_metrics", full)
        called = call("run", tiny_run, "-t", "where", "--include-path", tasks, "-o", out)
    assert called.status == 1
    assert "error: cannot write it: No space left on device\nhint: free space" in called.err
    again = milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=out)
    assert {row.checkpoint for row in again.rows()} == {"checkpoint-10", "checkpoint-20", "checkpoint-30"}


def test_a_bug_in_the_thread_ends_the_run_with_its_traceback(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import milepost.run.metrics.checkpoint_metrics as checkpoint_metrics

    monkeypatch.setattr(checkpoint_metrics, "write_metrics", failing(lambda: ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=tmp_path / "out")


def test_an_interrupt_keeps_the_scores_and_the_next_run_computes_the_metrics(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, score, called = tmp_path / "out", streaming.score_shards, []

    def interrupted(*arguments: Any) -> int:
        called.append(1)
        if len(called) == 3:
            raise KeyboardInterrupt
        return score(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(streaming, "score_shards", interrupted)
        stopped = call("run", tiny_run, "-t", "where", "--include-path", tasks, "-o", out)
    assert stopped.status == 130
    assert len(list((out / "store" / "scores").iterdir())) == 2
    again = milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=out)
    assert len(again.scored) == 1
    assert {row.checkpoint for row in again.rows()} == {"checkpoint-10", "checkpoint-20", "checkpoint-30"}


def test_docs_and_chance_levels_are_read_once_for_all_checkpoints(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.task import Task

    iterate, times = Task.doc_iterator, Counter[str]()

    def doc_iterator(self: Task, *arguments: Any, **options: Any) -> Any:
        times[self.task_name] += 1
        return iterate(self, *arguments, **options)

    first = milepost.evaluate(
        tiny_run, "farm,prose", include_path=tasks, output_path=tmp_path / "first", limit=3
    )
    monkeypatch.setattr(Task, "doc_iterator", doc_iterator)
    again = milepost.evaluate(
        tiny_run, "farm,prose", include_path=tasks, output_path=tmp_path / "again", limit=3
    )
    assert times == {"where": 1, "who": 1, "prose": 1}
    assert again.to_records() == first.to_records()
