"""A run over several checkpoints: what is computed, what is reused, and what one bad checkpoint costs."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.store import ResultsIndex
from milepost.store.atomic_files import read_json, write_json
from milepost.store.task_metrics import picks_of
from tests.cli.called import milepost as call
from tests.conftest import save_tiny_llama
from tests.faults.zygote import Zygote
from tests.run.own_tasks import write_task, write_tasks

Figures = dict[tuple[str, str, str], float | None]
Evaluate = Callable[..., milepost.Results]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def evaluate(tasks: Path, tmp_path: Path) -> Evaluate:
    def called(source: Any, names: str = "where", **options: Any) -> milepost.Results:
        given: dict[str, Any] = {"output_path": tmp_path / "out", "verbosity": "ERROR"} | options
        return milepost.evaluate(source, names, include_path=tasks, **given)

    return called


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def figures(results: milepost.Results) -> Figures:
    return {(row.checkpoint, row.task, row.metric): row.value for row in results.rows()}


def files_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def scores_in(results: milepost.Results) -> dict[str, tuple[int, bytes]]:
    return files_in(results.path / "store" / "scores")


# ---- what is there is not computed again --------------------------------------------------------------


def test_the_same_run_again_changes_no_file_and_needs_neither_lm_eval_nor_a_model(
    evaluate: Evaluate, tiny_run: Path, tasks: Path
) -> None:
    results = evaluate(tiny_run)
    before = files_in(results.path)
    code = (
        "import sys, milepost\n"
        "source, tasks, out = sys.argv[1:]\n"
        "results = milepost.evaluate(source, 'where', include_path=tasks, output_path=out)\n"
        "assert len(results.reused) == 3, results\n"
        "heavy = ('lm_eval', 'datasets', 'torch', 'transformers')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    again = subprocess.run(
        [sys.executable, "-c", code, tiny_run, tasks, results.path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.strip() == "[]"
    assert files_in(results.path) == before


def test_a_task_added_later_leaves_the_scores_of_the_first_alone(evaluate: Evaluate, tiny_run: Path) -> None:
    first = evaluate(tiny_run)
    before, shown = scores_in(first), figures(first)
    both = evaluate(tiny_run, "where,who")
    after = scores_in(both)
    assert {path: after[path] for path in before} == before
    assert len(after) == 2 * len(before)
    assert figures(both).items() > shown.items()


def test_a_task_left_out_later_is_still_shown(evaluate: Evaluate, tiny_run: Path) -> None:
    evaluate(tiny_run, "where")
    assert {row.task for row in evaluate(tiny_run, "who").rows()} == {"where", "who"}


def test_the_same_weights_under_two_names_are_scored_once_and_shown_twice(
    evaluate: Evaluate, own_run: Path
) -> None:
    shutil.copytree(own_run / "checkpoint-10", own_run / "checkpoint-15")
    results = evaluate(own_run)
    assert len(list((results.path / "store" / "scores").iterdir())) == 3
    assert results.reused == ("run/checkpoint-15",)
    shown = figures(results)
    assert shown["checkpoint-15", "where", "acc"] == shown["checkpoint-10", "where", "acc"]


def test_free_figures_are_those_of_lm_eval_where_it_has_them_and_aggregated_as_its_groups_are(
    evaluate: Evaluate, tiny_run: Path
) -> None:
    results = evaluate(tiny_run, "farm")
    rows = {(row.checkpoint, row.task, row.metric): row for row in results.rows()}
    for checkpoint in ("checkpoint-10", "checkpoint-20", "checkpoint-30"):
        for metric in ("acc_norm", "acc_balanced", "bpb_right", "ece"):
            group, *tasks = (rows[checkpoint, task, metric] for task in ("farm", "where", "who"))
            assert group.value == pytest.approx(sum(task.value or 0 for task in tasks) / 2)  # 8 docs each
            assert (group.n, group.kind) == (16, "group")
        of_lm_eval = rows[checkpoint, "farm", "acc"]
        (picks,) = [
            each
            for each in picks_of(ResultsIndex.open(results.path).tasks())
            if (each.checkpoint, each.task) == (checkpoint, "farm")
        ]
        assert of_lm_eval.constant == (min(picks.counts.constant), max(picks.counts.constant))
        assert sum(picks.counts.picked) == 16


def test_results_of_a_version_without_free_figures_get_them_without_scoring(
    evaluate: Evaluate, tiny_run: Path
) -> None:
    results = evaluate(tiny_run)
    before, scores = figures(results), scores_in(results)
    for path in (results.path / "store" / "metrics").glob("*/*.json"):
        write_json(path, {key: value for key, value in read_json(path).items() if key != "choices"})
    shutil.rmtree(results.path / "store" / "picks")
    shutil.rmtree(results.path / "store" / "choices")
    assert figures(results).items() < before.items()
    assert figures(evaluate(tiny_run)) == before
    assert scores_in(results) == scores


def test_a_checkpoint_overwritten_in_place_is_a_new_one(evaluate: Evaluate, own_run: Path) -> None:
    old = evaluate(own_run, "prose")
    before = figures(old)
    save_tiny_llama(own_run / "checkpoint-20", seed=99)
    results = evaluate(own_run, "prose")
    assert results.scored == ("run/checkpoint-20",)
    changed = {name for name, value in figures(results).items() if value != before[name]}
    assert {checkpoint for checkpoint, _, _ in changed} == {"checkpoint-20"}


def test_figures_of_weights_that_are_gone_are_not_shown(evaluate: Evaluate, own_run: Path) -> None:
    evaluate(own_run)
    weights = own_run / "checkpoint-20" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    results = evaluate(own_run)
    assert {row.checkpoint for row in results.rows()} == {"checkpoint-10", "checkpoint-30"}
    assert list(results.failures) == ["run/checkpoint-20"]
    weights.write_bytes(whole)
    results = evaluate(own_run)
    assert len(results.reused) == 3
    assert len({row.checkpoint for row in results.rows()}) == 3


def test_two_few_shot_settings_of_a_task_stand_side_by_side(evaluate: Evaluate, tiny_run: Path) -> None:
    zero = figures(evaluate(tiny_run, num_fewshot=0))
    results = evaluate(tiny_run, num_fewshot=2, steps="10:20")
    assert {(m.checkpoint, m.num_fewshot) for m in ResultsIndex.open(results.path).metrics()} == {
        ("checkpoint-10", 0),
        ("checkpoint-10", 2),
        ("checkpoint-20", 0),
        ("checkpoint-20", 2),
        ("checkpoint-30", 0),
    }
    again = evaluate(tiny_run, num_fewshot=0).rows()
    assert {
        (row.checkpoint, row.task, row.metric): row.value for row in again if row.num_fewshot == 0
    } == zero


# ---- sources ------------------------------------------------------------------------------------------


def test_several_sources_are_several_series_and_steps_choose_within_each(
    evaluate: Evaluate, tiny_run: Path, own_run: Path
) -> None:
    results = evaluate([tiny_run, own_run], steps="20::10")
    shown = {(row.series, row.step) for row in results.rows()}
    assert shown == {(tiny_run.name, 20), (tiny_run.name, 30), ("run", 20), ("run", 30)}
    assert len(results.scored) == 2  # the copies have the weights of the originals


def test_auto_is_each_checkpoints_own_dtype(evaluate: Evaluate, own_run: Path) -> None:
    path = own_run / "checkpoint-20" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": "bfloat16"}))
    results = evaluate(own_run)
    records = [json.loads(p.read_text()) for p in (results.path / "store" / "checkpoints").rglob("*.json")]
    assert {r["step"]: r["numerics"].partition("-")[0] for r in records} == {
        10: "float32",
        20: "bfloat16",
        30: "float32",
    }


# ---- memory -------------------------------------------------------------------------------------------


def test_two_checkpoints_at_most_and_one_module_are_in_memory(
    evaluate: Evaluate, own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import milepost.run.scoring.streaming as streaming
    from milepost.weights import CheckpointWeights, LiveModel

    save_tiny_llama(own_run / "checkpoint-40", seed=40)
    seen: list[Counter[str]] = []
    score = streaming.score_shards

    def counting(*arguments: Any) -> int:
        shards = score(*arguments)
        gc.collect()
        things = gc.get_objects()
        seen.append(
            Counter(
                weights=sum(isinstance(thing, CheckpointWeights) and bool(thing.tensors) for thing in things),
                models=sum(isinstance(thing, LiveModel) for thing in things),
            )
        )
        return shards

    monkeypatch.setattr(streaming, "score_shards", counting)
    evaluate(own_run)
    assert len(seen) == 4
    assert max(count["weights"] for count in seen) <= 1  # the next one's; this one's are in the module
    assert {count["models"] for count in seen} == {1}


# ---- interruptions ------------------------------------------------------------------------------------


def test_ctrl_c_exits_130_and_the_next_run_does_the_rest(
    evaluate: Evaluate, tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milepost.store import ResultsFolder

    write = ResultsFolder.write_scores
    written: list[Any] = []

    def interrupted(self: ResultsFolder, path: Path, *scores: Any, **texts: Any) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write(self, path, *scores, **texts)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(ResultsFolder, "write_scores", interrupted)
        called = call(
            "run", tiny_run, "-t", "where", "--include-path", tasks, "-o", out, "--shard-tokens", 99
        )
    assert called.status == 130
    assert "interrupted" in called.err
    before = {path: path.stat().st_mtime_ns for path in written}
    rest = evaluate(tiny_run, shard_tokens=99)
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert figures(rest) == pytest.approx(figures(evaluate(tiny_run, output_path=tmp_path / "whole")))


DYING = """
import os, signal
from milepost.store import atomic_files as files
replace, done = os.replace, []
def dying(old, new):
    done.append(new)
    if sum('scores' in str(path) for path in done) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(old, new)
files.os.replace = dying
"""
"""A process that is killed when it has written six score files and is about to name the seventh."""


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    evaluate: Evaluate, tiny_run: Path, tasks: Path, tmp_path: Path, zygote: Zygote
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    asked: list[str | Path] = [
        "run",
        tiny_run,
        "-t",
        "farm",
        "--include-path",
        tasks,
        "--shard-tokens",
        "99",
        "-o",
        out,
    ]
    assert zygote.run(*asked, log=log, before=DYING) == -9, log.read_text("utf-8")
    assert len(list((out / "store" / "scores").rglob("[!.]*.parquet"))) == 6
    rest = evaluate(tiny_run, "farm", shard_tokens=99)
    whole = evaluate(tiny_run, "farm", shard_tokens=99, output_path=tmp_path / "whole")
    assert {path.name for path in (out / "store" / "scores").rglob("[!.]*.parquet")} == {
        path.name for path in (whole.path / "store" / "scores").rglob("*.parquet")
    }
    assert figures(rest) == figures(whole)


# ---- checkpoints that cannot be used ------------------------------------------------------------------


def log_of(out: Path, checkpoint: str) -> str:
    (log,) = (out / checkpoint).rglob("evaluation.log")
    return log.read_text("utf-8")


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def give_other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 256}))


def give_other_tokenizer(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def break_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def lose_a_tensor(folder: Path) -> None:
    import safetensors.torch

    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors.pop("model.norm.weight")
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


FAULTS = {
    cut: "",
    give_other_shape: "intermediate_size",
    give_other_tokenizer: "another tokenizer",
    break_tokenizer: "does not load",
    lose_a_tensor: "model.norm.weight",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_one_bad_checkpoint_is_named_and_the_others_are_evaluated(
    own_run: Path, tasks: Path, tmp_path: Path, fault: Callable[[Path], None]
) -> None:
    fault(own_run / "checkpoint-20")
    out = tmp_path / "out"
    called = call("run", own_run, "-t", "where", "--include-path", tasks, "-o", out, "--json")
    assert called.status == 1, called.err
    assert {row["step"] for row in json.loads(called.out)} == {10, 30}
    (failed,) = [line for line in called.err.splitlines() if line.startswith("failed: ")]
    assert "run/checkpoint-20" in failed
    assert FAULTS[fault] in failed
    assert called.err.splitlines()[-1].startswith("2 scored, 1 failed; ")
    assert failed.partition("checkpoint-20: ")[2] in log_of(out, "checkpoint-20")
    assert "ERROR" not in log_of(out, "checkpoint-10")


def test_a_model_that_gives_nan_has_no_figures_and_is_told_every_time(
    own_run: Path, tasks: Path, tmp_path: Path
) -> None:
    import safetensors.torch
    import torch

    path = own_run / "checkpoint-20" / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], torch.nan)
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    out = tmp_path / "out"
    for _ in range(2):
        called = call("run", own_run, "-t", "farm", "--include-path", tasks, "-o", out, "--json")
        assert called.status == 1
        values = {(row["step"], row["task"]): row["value"] for row in json.loads(called.out)}
        assert values[20, "farm"] is None
        assert values[20, "where"] is None
        assert values[10, "farm"] is not None
        assert "run/checkpoint-20: the model gave NaN" in called.err
    assert "NaN or Inf in model.norm.weight" in log_of(out, "checkpoint-20")


def test_when_every_checkpoint_fails_the_run_still_ends_well(
    own_run: Path, tasks: Path, tmp_path: Path
) -> None:
    for step in (10, 20, 30):
        lose_a_tensor(own_run / f"checkpoint-{step}")
    called = call("run", own_run, "-t", "where", "--include-path", tasks, "-o", tmp_path / "out")
    assert (called.status, called.out) == (1, "")
    assert called.err.splitlines()[-1].startswith("3 failed; ")


# ---- what is left behind ------------------------------------------------------------------------------


def test_the_log_of_a_checkpoint_tells_what_its_figures_depend_on(evaluate: Evaluate, tiny_run: Path) -> None:
    results = evaluate(tiny_run, limit=2, verbosity="WARNING")
    log = log_of(results.path, "checkpoint-10")
    for told in ("lm_eval 0.4", "torch ", "limit=2", "dtype auto", "device cpu", "model ", "plan ", " s"):
        assert told in log
    assert os.fspath(tiny_run) in log


def test_log_samples_writes_what_lm_eval_writes(evaluate: Evaluate, tiny_run: Path) -> None:
    results = evaluate(tiny_run, "farm", log_samples=True, limit=3)
    for step in (10, 20, 30):
        folder = results.path / f"checkpoint-{step}"
        assert len(list(folder.rglob("results_*.json"))) == 1
        samples = sorted(folder.rglob("samples_*.jsonl"))
        assert [path.name.split("_")[1] for path in samples] == ["where", "who"]
        assert len(samples[0].read_text().splitlines()) == 3


def test_log_samples_also_writes_checkpoints_that_lack_one_metric(tiny_run: Path, tmp_path: Path) -> None:
    """A Brier score over unequal numbers of choices cannot be computed; the accuracy can."""
    docs: list[dict[str, Any]] = [
        {"text": "the cat", "ways": [" sat", " ran"], "right": 0},
        {"text": "a dog", "ways": [" sat", " ran", " was"], "right": 1},
    ]
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "{{ways}}",
        "doc_to_target": "{{right}}",
        "metric_list": [
            {"metric": "acc"},
            {"metric": "brier_score", "aggregation": "brier_score", "higher_is_better": False},
        ],
    }
    write_task(tmp_path / "own", "unequal", docs, config)
    out = tmp_path / "out"
    results = milepost.evaluate(
        tiny_run, "unequal", include_path=tmp_path / "own", output_path=out, log_samples=True
    )
    assert len(results.failures) == 3
    for step in (10, 20, 30):
        folder = out / f"checkpoint-{step}"
        (written,) = folder.rglob("results_*.json")
        assert "acc,none" in json.loads(written.read_text())["results"]["unequal"]
        assert len(list(folder.rglob("samples_unequal_*.jsonl"))) == 1
