"""Checkpoints that say differently how their texts end and are chosen: each is asked as if it were alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.called import milepost as call
from tests.run.own_tasks import write_task

STEPS = {
    "checkpoint-10": {},
    "checkpoint-20": {"repetition_penalty": 1.8},
    "checkpoint-30": {"eos_token_id": [0, *range(40, 120)]},
    "checkpoint-40": {},
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tell` asks for texts; `pick` for log-likelihoods alone."""
    folder = tmp_path_factory.mktemp("tasks")
    docs = [{"animal": animal, "answer": "mat"} for animal in ("cat", "dog", "rat", "hen", "cow")]
    prompt = "the cat sat on the mat and the {{animal}} sat on the"
    exact = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    write_task(folder, "tell", docs, {
        "output_type": "generate_until", "doc_to_text": prompt, "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["zz"], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [exact],
    })  # fmt: skip
    write_task(folder, "pick", docs, {
        "output_type": "multiple_choice", "doc_to_text": prompt, "doc_to_target": 0,
        "doc_to_choice": ["mat", "hat"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    })  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def one_model_asked_differently(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights at every step, so that nothing but generation_config.json tells them apart."""
    folder = tmp_path_factory.mktemp("series") / "run"
    for name, changes in STEPS.items():
        shutil.copytree(tiny_llama, folder / name)
        path = folder / name / "generation_config.json"
        said = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(said | changes))
    return folder


def run(source: Path, names: str, tasks: Path, out: Path, *more: object) -> Any:
    called = call("run", source, "-t", names, "--include-path", tasks, "-o", out, "--dtype", "float32", *more)
    assert called.status == 0, called.err
    return called


def texts(out: Path, files: Path) -> dict[str, dict[int, str]]:
    """By checkpoint and doc, as lm_eval's own files have them."""
    assert call("export", out, "--format", "lm_eval", "-o", files).status == 0
    found: dict[str, dict[int, str]] = {}
    for path in sorted(files.rglob("samples_tell_*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        name = next(part for part in path.parts if part.startswith("checkpoint-"))
        found[name] = {row["doc_id"]: row["resps"][0][0] for row in rows}
    return found


def rows(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call("show", out, "--json").out)
    return found


def test_the_texts_of_a_checkpoint_do_not_depend_on_its_neighbours(
    one_model_asked_differently: Path, tasks: Path, tmp_path: Path
) -> None:
    series = one_model_asked_differently
    run(series, "tell", tasks, tmp_path / "out", "--log-samples")
    together = texts(tmp_path / "out", tmp_path / "files")
    for name in STEPS:
        run(series / name, "tell", tasks, tmp_path / name, "--log-samples")
        assert together[name] == texts(tmp_path / name, tmp_path / f"files-{name}")[name], name
    assert together["checkpoint-10"] == together["checkpoint-40"]
    different = [list(together[name].values()) for name in list(STEPS)[:3]]
    assert different[0] != different[1] != different[2] != different[0]


def test_the_series_stays_one_curve_and_is_not_computed_again(
    one_model_asked_differently: Path, tasks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(one_model_asked_differently, "tell", tasks, out)
    assert {row["step"] for row in rows(out)} == {10, 20, 30, 40}
    (status,) = json.loads(call("status", out, "--json").out)["series"]
    assert sorted(one["checkpoint"] for one in status["checkpoints"]) == sorted(STEPS)
    assert all(one["done"] for one in status["checkpoints"])
    before = {path: path.stat().st_mtime_ns for path in (out / "store").rglob("*.parquet")}
    runs = len(list((out / "store/runs").glob("*.json")))
    again = run(one_model_asked_differently, "tell", tasks, out)
    assert "scored" in again.err + again.out
    assert {path: path.stat().st_mtime_ns for path in (out / "store").rglob("*.parquet")} == before
    assert len(list((out / "store/runs").glob("*.json"))) == runs
    assert call("verify", out).status == 0


def test_where_no_text_is_asked_for_there_is_one_plan(
    one_model_asked_differently: Path, tasks: Path, tmp_path: Path
) -> None:
    run(one_model_asked_differently, "pick", tasks, tmp_path / "out")
    assert len(list((tmp_path / "out/store/plans").glob("*[!l].json"))) == 1


def test_a_file_that_cannot_be_read_costs_its_own_checkpoint(
    tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    series = tmp_path / "run"
    shutil.copytree(tiny_run, series)
    (series / "checkpoint-20" / "generation_config.json").write_text('{"eos_token_id": ')
    called = call("run", series, "-t", "tell", "--include-path", tasks, "-o", tmp_path / "out")
    assert called.status == 1
    assert "checkpoint-20" in called.err
    assert "generation_config.json" in called.err
    assert {row["step"] for row in rows(tmp_path / "out")} == {10, 30}


def test_a_saved_plan_is_refused_to_checkpoints_that_end_their_texts_otherwise(
    one_model_asked_differently: Path, tasks: Path, tmp_path: Path
) -> None:
    series, plan = one_model_asked_differently, tmp_path / "plan"
    asked = ("-t", "tell", "--include-path", tasks)
    both = call("run", series, *asked, "--save-plan", plan)
    assert both.status == 2
    assert "generation_config.json" in both.err
    assert call("run", series / "checkpoint-10", *asked, "--save-plan", plan).status == 0
    fits = call("run", series / "checkpoint-40", "--plan", plan, "-o", tmp_path / "out")
    assert fits.status == 0, fits.err
    other = call("run", series / "checkpoint-20", "--plan", plan, "-o", tmp_path / "other")
    assert other.status == 2
    assert "generation_config.json of checkpoint-20 differs" in other.err


def test_the_same_weights_under_two_names_keep_their_own_limits(
    tiny_llama: Path, tasks: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_llama, tmp_path / "one")
    shutil.copytree(tiny_llama, tmp_path / "two")
    out = tmp_path / "out"
    run(tmp_path / "one", "pick", tasks, out)
    run(tmp_path / "two", "pick", tasks, out, "--limit", 2)
    assert {row["series"]: row["n"] for row in rows(out) if row["metric"] == "acc"} == {"one": 5, "two": 2}
