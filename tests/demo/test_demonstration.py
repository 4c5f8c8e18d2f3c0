"""The demo from end to end, with a course of training short enough for a test."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from milepost.cli.main import milepost
from milepost.demo import demonstration
from milepost.demo.demonstration import Demonstration, demonstrate, only_demo_in
from milepost.demo.training import Recipe
from milepost.errors import MilepostError

pytestmark = pytest.mark.slow

QUICK = Recipe(
    hidden_size=32,
    intermediate_size=64,
    layers=1,
    heads=2,
    steps=8,
    warmup_steps=2,
    first_kept_step=2,
    kept_checkpoints=3,
    sequence_length=16,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def made(folder: Path) -> Demonstration:
    return demonstrate(folder, lambda line: None, QUICK)


def test_every_checkpoint_is_measured_on_every_task(made: Demonstration) -> None:
    rows = made.results.rows()
    assert {row.step for row in rows} == {2, 4, 8}
    assert {"world", "world_cloze", "world_letters", "world_text", "world_arithmetic"} <= {
        row.task for row in rows
    }
    assert made.results.failures == {}


def test_a_model_that_has_learnt_nothing_is_at_chance(made: Demonstration) -> None:
    (row,) = (
        row for row in made.results.rows() if (row.task, row.metric, row.step) == ("world_letters", "acc", 2)
    )
    assert row.chance == 0.25
    assert row.ci_low is not None
    assert row.ci_low < 0.25 < row.ci_high


def test_the_picture_and_the_page_are_there(made: Demonstration) -> None:
    assert made.curve.read_bytes().startswith(b"\x89PNG")
    assert "world_cloze" in made.report.read_text("utf-8")


def test_the_pruned_copy_is_half_empty_and_compared_on_every_task(made: Demonstration, folder: Path) -> None:
    assert made.pruned.study is not None
    (variant,) = made.pruned.study.variants
    assert variant.model.sparsity is not None
    assert (variant.model.sparsity.share, list(variant.model.sparsity.patterns)) == (0.5, ["2:4"])
    assert [one.task for one in variant.comparison.tasks] == [
        "world",
        "world_cloze",
        "world_letters",
        "world_text",
    ]
    assert made.pruned.study.original.answers.checkpoint == "checkpoint-8"
    assert (folder / "comparison" / "comparison_report.html").is_file()


def test_a_rerun_trains_and_scores_nothing(made: Demonstration, folder: Path) -> None:
    weights = made.model / "checkpoint-8" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    said: list[str] = []
    again = demonstrate(folder, said.append, QUICK)
    assert weights.stat().st_mtime_ns == before
    assert any("is there already" in line for line in said)
    assert again.results.to_records() == made.results.to_records()


def test_a_model_of_another_recipe_is_not_taken_for_this_one(made: Demonstration, folder: Path) -> None:
    with pytest.raises(MilepostError, match="another recipe") as caught:
        demonstrate(folder, lambda line: None, Recipe())
    assert caught.value.hint is not None
    assert "-o" in caught.value.hint


def test_an_interrupted_training_leaves_no_model(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if "step 4" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demonstrate(tmp_path, stop, QUICK)
    assert not (tmp_path / "tiny-llama").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MilepostError, match="file"):
        demonstrate(tmp_path / "file", lambda line: None, QUICK)


def test_the_command_prints_the_table_and_what_to_type_next(
    made: Demonstration, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstration, "demonstrate", functools.partial(demonstrate, recipe=QUICK))
    done = CliRunner().invoke(milepost, ["demo", "-o", str(folder)])
    assert done.exit_code == 0, done.output
    assert "world_cloze" in done.stdout
    assert f"milepost show {folder / 'results'}" in done.stdout
    assert "tiny-llama-pruned" in done.stdout
    assert "not distinguishable" in done.stdout


def test_the_command_writes_json_and_nothing_else_to_stdout(
    made: Demonstration, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstration, "demonstrate", functools.partial(demonstrate, recipe=QUICK))
    done = CliRunner().invoke(milepost, ["demo", "-o", str(folder), "--json"])
    record = json.loads(done.stdout)
    assert Path(record["curve"]).is_file()
    assert Path(record["report"]).is_file()
    assert record["failures"] == {}


def test_two_demos_in_one_folder_are_told_in_one_line(tmp_path: Path) -> None:
    with only_demo_in(tmp_path), pytest.raises(MilepostError, match="another `milepost demo` is at work"):
        demonstrate(tmp_path, lambda line: None)
    with only_demo_in(tmp_path):
        pass  # the first has ended, and a next one may begin
