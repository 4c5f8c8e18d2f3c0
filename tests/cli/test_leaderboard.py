"""`milepost leaderboard` over real results of two training runs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import milepost
from tests.cli.called import milepost as called
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def results(tiny_run: Path, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    milepost.evaluate(
        [tiny_run, tiny_llama], "farm,prose", output_path=folder / "out", include_path=tasks, engine="padded"
    )
    return folder / "out"


def board(results: Path, *options: str | Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(called("leaderboard", results, "--json", *options).out)
    return made


def test_each_run_has_a_line_with_its_last_checkpoint_and_intervals(results: Path) -> None:
    shown = board(results)
    assert {(one["name"], one["checkpoint"]) for one in shown["models"]} == {
        ("tiny-run", "checkpoint-30"),
        ("tiny-llama", "tiny-llama"),
    }
    assert [(one["task"], one["higher_is_better"]) for one in shown["columns"]] == [
        ("farm", True),
        ("prose", False),
    ]
    for model in board(results, "--tasks", "farm")["models"]:  # prose has too few docs
        for way in ("win_rate", "rank", "normalised", "min_max"):
            assert model[way]["ci_low"] <= model[way]["value"] <= model[way]["ci_high"]
    assert sum(one["win_rate"]["value"] for one in shown["models"]) == pytest.approx(1.0)


def test_lower_perplexity_wins(results: Path) -> None:
    shown = board(results, "--tasks", "prose")
    first, second = (one["scores"]["prose.word_perplexity"] for one in shown["models"])
    assert first < second


def test_a_step_and_the_best_checkpoint_can_be_chosen(results: Path) -> None:
    by_name = {one["name"]: one for one in board(results, "--exclude", "tiny-llama", "--at", "10")["models"]}
    assert by_name["tiny-run"]["step"] == 10
    perplexities = {
        row["checkpoint"]: row["value"]
        for row in json.loads(called("show", results, "--json", "--task", "prose").out)
        if row["metric"] == "word_perplexity" and row["series"] == "tiny-run"
    }
    shown = board(results, "--tasks", "prose", "--at", "best", "--exclude", "tiny-llama")
    assert "chosen by the same docs" in shown["notes"][0]
    best = shown["models"][0]
    assert best["checkpoint"] == min(perplexities, key=lambda name: perplexities[name])


def test_published_figures_stand_beside_them_without_intervals(results: Path, tmp_path: Path) -> None:
    baselines = tmp_path / "published.yaml"
    baselines.write_text("Perfect:\n  source: a paper\n  farm: 1.0\n  prose: {word_perplexity: 1.5}\n")
    shown = board(results, "--baselines", baselines)
    assert "Perfect: published at a paper" in shown["notes"]
    first = shown["models"][0]
    assert first["name"] == "Perfect"
    assert first["win_rate"] == {"value": 1.0, "ci_low": None, "ci_high": None}
    assert first["normalised"]["value"] == 1.0


def test_every_form_names_every_model(results: Path, tmp_path: Path) -> None:
    for suffix in ("md", "csv", "html", "json"):
        path = tmp_path / f"board.{suffix}"
        called("leaderboard", results, "-o", path)
        assert all(name in path.read_text() for name in ("tiny-run", "tiny-llama", "farm"))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "board.csv").read_text())))
    assert float(lines[0]["win_rate"]) >= float(lines[1]["win_rate"])
    assert "win rate" in called("leaderboard", results).out


def test_metrics_are_chosen_by_name_or_with_their_task(results: Path) -> None:
    shown = board(results, "--metrics", "bits_per_byte,farm.acc")
    assert [f"{one['task']}.{one['metric']}" for one in shown["columns"]] == [
        "farm.acc",
        "prose.bits_per_byte",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "7"], "no metrics at step 7"),
        (["--at", "middle"], "is not a checkpoint"),
        (["--exclude", "nobody"], "matches nothing"),
        (["--metrics", "acc_nrom"], "matches nothing"),
        (["--exclude", "*"], "nothing is left"),
        (["-o", "board.pdf"], "ends in `.pdf`"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_hint(results: Path, options: list[str], message: str) -> None:
    done = called("leaderboard", results, *options)
    assert done.status == 2
    assert message in done.err
    assert "hint: " in done.err


def test_too_few_docs_give_no_interval_and_the_column_is_named(
    tiny_run: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    """Draws of a single doc are all alike, which would pass for a figure without error."""
    tasks = write_tasks(tmp_path / "tasks")
    milepost.evaluate(
        [tiny_run, tiny_llama], "farm", output_path=tmp_path / "out", include_path=tasks, limit=1
    )
    shown = board(tmp_path / "out")
    for model in shown["models"]:
        for way in ("win_rate", "rank", "normalised", "min_max"):
            assert model[way]["ci_low"] is None
            assert model[way]["ci_high"] is None
    assert any(note.startswith("farm acc: too few docs") for note in shown["notes"])


def test_models_computed_in_different_dtypes_are_named(
    tiny_run: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    for source, dtype in ((tiny_run, "float32"), (tiny_llama, "bfloat16")):
        milepost.evaluate(
            source, "farm", output_path=tmp_path / dtype, include_path=tasks, limit=2, dtype=dtype
        )
    shown = json.loads(called("leaderboard", tmp_path / "float32", tmp_path / "bfloat16", "--json").out)
    (note,) = [one for one in shown["notes"] if "dtypes" in one]
    assert "tiny-run float32" in note
    assert "tiny-llama bfloat16" in note
