"""`milepost show --provenance`: where each checkpoint's figures come from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from milepost import evaluate
from milepost.cli.main import milepost
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints, the second with the weights of the first."""
    folder = tmp_path_factory.mktemp("provenance")
    for name in ("step-1", "step-2"):
        shutil.copytree(tiny_run / "checkpoint-10", folder / "twins" / name)
    tasks = write_tasks(folder / "tasks")
    evaluate(
        folder / "twins", "where", include_path=tasks, output_path=folder / "out", engine="reference", limit=2
    )
    return folder / "out"


def test_the_origin_of_every_figure_is_there_as_json(results: Path) -> None:
    said = CliRunner().invoke(milepost, ["show", str(results), "--provenance", "--json"])
    first, second = json.loads(said.stdout)
    assert (first["checkpoint"], second["checkpoint"]) == ("step-1", "step-2")
    assert first["engines"] == ["reference"]
    assert first["numerics"].startswith("float32-")
    assert "lm_eval 0.4" in first["versions"][0]
    assert first["first_scored"] <= first["last_scored"]


def test_the_same_weights_under_two_names_say_where_they_were_scored(results: Path) -> None:
    said = CliRunner().invoke(milepost, ["show", str(results), "--provenance", "--json"])
    first, second = json.loads(said.stdout)
    assert first["model_id"] == second["model_id"]
    assert second["source"].endswith("step-2")
    assert second["scored_from"] == [first["source"]]
    assert len(list((results / "store" / "scores").rglob("*.parquet"))) == first["n_shards"]


def test_people_get_a_paragraph_per_checkpoint(results: Path) -> None:
    said = CliRunner().invoke(milepost, ["show", str(results), "--provenance"])
    assert said.exit_code == 0
    assert said.stdout.count("model_id") == 2
    assert "scored at" in said.stdout
