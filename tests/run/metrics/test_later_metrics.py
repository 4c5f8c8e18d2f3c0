"""Scores stored where lm_eval is missing, metrics computed from them where it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.api.metrics import compute_metrics
from milepost.errors import MilepostError
from milepost.run.plans.plan_from_records import read_stored_plan
from milepost.store import open_folder
from milepost.store.atomic_files import read_json, write_json
from milepost.store.leases import Leases
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_task, write_tasks
from tests.without import WITHOUT

TASKS = "farm,prose,tell"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Multiple choice, a rolling perplexity, and generated texts."""
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    config = {
        "output_type": "generate_until",
        "doc_to_text": "the {{animal}} sat on the",
        "doc_to_target": "{{place}}",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, "tell", [{"animal": "cat", "place": "mat"}, {"animal": "dog", "place": "log"}], config)
    return folder


@pytest.fixture(scope="module")
def usual(tiny_run: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> milepost.Results:
    out = tmp_path_factory.mktemp("usual") / "out"
    return milepost.evaluate(tiny_run, TASKS, include_path=tasks, output_path=out)


@pytest.fixture(scope="module")
def scored(
    tiny_run: Path, tasks: Path, usual: milepost.Results, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same, scored by the command where lm_eval is not; the plan is in the cache of the usual run."""
    out = tmp_path_factory.mktemp("scored") / "out"
    done = without_lm_eval("run", tiny_run, "-t", TASKS, "--include-path", tasks, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "3 have scores and no metrics yet" in done.stderr
    assert f"milepost metrics {out}" in done.stderr
    assert done.stdout == ""
    return out


@pytest.fixture
def own(scored: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(scored, tmp_path / "out")


def without_lm_eval(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`milepost ARGUMENTS` where lm_eval is missing, and what else scoring does not need."""
    code = WITHOUT.replace("'click', ", "").replace("'rich', ", "").replace("'orjson', ", "")
    code += "\nimport sys\nfrom milepost.cli.main import main\nsys.argv[0] = 'milepost'\nmain()"
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def test_metrics_computed_later_are_those_of_the_usual_run(usual: milepost.Results, own: Path) -> None:
    called = call("metrics", own)
    assert called.status == 0, called.err
    assert called.err.count("metrics computed") == 3
    assert "acc" in called.out
    later = milepost.Results.open(own)
    assert later.to_records() == usual.to_records()
    again = call("metrics", own)
    assert (again.status, "every checkpoint with scores has its metrics" in again.err) == (0, True)


def test_neither_weights_nor_a_tokenizer_nor_a_cached_plan_is_needed(
    usual: milepost.Results, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import milepost.weights as weights

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("read")

    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(weights, "load_tokenizer", never)
    monkeypatch.setattr(weights, "read_checkpoint", never)
    report = compute_metrics(own)
    assert (len(report.computed), report.lacking, report.unscored) == (3, {}, [])
    assert milepost.Results.open(own).to_records() == usual.to_records()


def test_show_says_that_metrics_are_lacking_and_how_to_get_them(own: Path) -> None:
    shown = call("show", own)
    assert (shown.status, shown.out) == (2, "")
    assert shown.err.splitlines() == [
        f"error: {own}: 3 checkpoints have scores and no metrics yet",
        f"hint: `milepost metrics {own}` computes them where lm_eval is installed",
    ]
    compute_metrics(own)
    next((own / "store" / "metrics").glob("*/*.json")).unlink()
    shown = call("show", own)
    assert shown.status == 0
    assert "note: 1 more checkpoints have scores and no metrics yet" in shown.err
    assert "acc" in shown.out


def test_the_usual_command_computes_them_as_well(
    tiny_run: Path, tasks: Path, usual: milepost.Results, own: Path
) -> None:
    again = milepost.evaluate(tiny_run, TASKS, include_path=tasks, output_path=own)
    assert len(again.reused) == 3
    assert again.to_records() == usual.to_records()


def test_without_lm_eval_metrics_are_refused_and_scores_stand(own: Path) -> None:
    done = without_lm_eval("metrics", own)
    assert done.returncode == 2
    assert done.stderr.startswith("error: lm_eval is not installed here")


def test_without_lm_eval_questions_nobody_saved_are_refused(
    tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = without_lm_eval("run", tiny_run, "-t", "where", "-L", "5", "--include-path", tasks, "-o", out)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].endswith("no plan of these questions is saved")
    assert not out.exists()


def test_scores_only_leaves_metrics_where_lm_eval_is(tiny_run: Path, tasks: Path, tmp_path: Path) -> None:
    results = milepost.evaluate(
        tiny_run, "where", include_path=tasks, output_path=tmp_path / "out", scores_only=True
    )
    assert (len(results.scored), len(results.without_metrics), results.rows()) == (3, 3, [])


def test_a_checkpoint_that_lacks_scores_is_told_and_the_others_get_metrics(own: Path) -> None:
    next((own / "store" / "scores").glob("*/*/*.parquet")).unlink()
    called = call("metrics", own)
    assert called.status == 0
    assert called.err.count("metrics computed") == 2
    assert "1 checkpoints lack scores" in called.err


def test_other_docs_or_metrics_than_were_asked_are_refused(own: Path, tasks: Path, tmp_path: Path) -> None:
    for change in ("docs", "metrics"):
        changed = shutil.copytree(tasks, tmp_path / change)
        if change == "docs":
            for path in changed.glob("*.yaml"):
                path.write_text(path.read_text().replace(str(tasks), str(changed)))
            data = changed / "where.jsonl"
            data.write_text(data.read_text().replace("cat", "bat", 1))
        else:
            path = changed / "who.yaml"
            path.write_text(path.read_text().replace("- metric: acc_norm", "- metric: acc_bytes"))
        with pytest.raises(MilepostError, match=r"lm_eval has other (docs of where|metrics)"):
            compute_metrics(own, include_path=changed)
    assert milepost.Results.open(own).rows() == []


def test_leave_to_run_code_is_not_taken_from_a_results_folder(own: Path, tasks: Path) -> None:
    """A folder from elsewhere may name task files with Python in them and claim that they are trusted."""
    hostile = shutil.copytree(tasks, own.parent / "hostile")
    (hostile / "where.yaml").write_text(
        (hostile / "where.yaml").read_text() + "process_docs: !function x.y\n"
    )
    (hostile / "x.py").write_text("raise SystemExit('run')\n")
    for path in (own / "store" / "plans").glob("*.json"):
        record = read_json(path)
        record["settings"]["asked"] |= {"include_path": str(hostile), "allow_task_code": True}
        write_json(path, record)
    with pytest.raises(MilepostError, match="would run Python code"):
        compute_metrics(own)


def test_a_stored_plan_is_the_plan_less_its_tokens(usual: milepost.Results) -> None:
    results = open_folder(usual.path)
    (plan_id,) = {path.name.partition(".")[0] for path in (usual.path / "store" / "plans").iterdir()}
    plan = read_stored_plan(results, plan_id)
    assert plan.plan_id == plan_id
    assert [task.name for task in plan.tasks] == ["where", "who", "prose", "tell"]
    assert [len(task.kinds) for task in plan.tasks] == [32, 32, 3, 2]
    assert [task.choices is not None for task in plan.tasks] == [True, True, False, False]
    assert plan.generates_text


def test_verify_finds_nothing_wrong(own: Path) -> None:
    found = json.loads(call("verify", own, "--json").out)
    assert found["sound"]


def test_what_another_process_has_under_way_comes_last(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes would otherwise wait for each other at every checkpoint."""
    asked: list[str] = []

    def is_first(self: Leases, prefix: str) -> bool:
        asked.append(prefix)
        return len(asked) == 1

    monkeypatch.setattr(Leases, "others_at", is_first)
    done = compute_metrics(own)
    assert [name.rpartition("-")[2] for name in done.computed] == ["20", "30", "10"]
    assert all("-figures-" in prefix for prefix in asked)
