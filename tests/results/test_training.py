"""What real curves show, from the docs in the store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.analysis import rows
from milepost.analysis.intervals import NO_INTERVAL
from milepost.analysis.selection import summary_rows
from milepost.analysis.training import TrainedCurve, group_extremes
from milepost.results import Selection, select_rows
from milepost.results.training import note_training, read_training
from milepost.store import ResultsIndex, open_folder
from milepost.store.curve_cache import read_cached_curves
from milepost.store.live_index import LiveIndex
from tests.cli.called import milepost as called
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "out"
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    milepost.evaluate(tiny_run, "farm,prose", output_path=folder, include_path=tasks, engine="padded")
    return folder


def trained(results: Path, **patterns: Any) -> list[TrainedCurve]:
    index = ResultsIndex.open(results)
    return read_training(index, select_rows(index, Selection(**patterns), gaps=False))


def test_groups_and_perplexities_have_a_progress(results: Path) -> None:
    farm, prose = trained(results)
    for one in (farm, prose):
        assert one.progress is not None
        values = [row.value for row in one.curve.measured]
        assert one.gain == pytest.approx(values[-1] - values[0])
    assert farm.gain_interval.low <= farm.gain <= farm.gain_interval.high
    assert prose.progress.too_few_docs  # three texts
    assert prose.gain_interval == NO_INTERVAL
    assert prose.row(prose.progress.best).value == min(row.value for row in prose.curve.measured)


@pytest.mark.parametrize("metric", ["acc", "acc_norm", "prob_right", "margin"])
def test_every_figure_of_multiple_choice_has_one(metric: str, results: Path) -> None:
    (where,) = trained(results, tasks=["where"], metrics=[metric])
    assert where.progress is not None
    assert where.progress.best in where.progress.as_good


def test_the_note_of_a_run_says_what_the_docs_say(results: Path) -> None:
    noted = trained(results)
    assert len(read_cached_curves(open_folder(results))) == len(noted)
    (results / "store" / "training.json").unlink()
    assert trained(results) == noted
    note_training(results)
    assert trained(results) == noted


def test_a_note_counts_for_nothing_once_the_records_have_changed(results: Path) -> None:
    folder = open_folder(results)
    assert read_cached_curves(folder)
    record = next((results / "store" / "checkpoints").glob("*/*.json"))
    before = record.read_bytes()
    record.write_bytes(before + b" ")
    assert read_cached_curves(folder) == []
    record.write_bytes(before)
    assert read_cached_curves(folder)


def test_small_groups_have_no_ends(results: Path) -> None:
    measured = ResultsIndex.open(results).metrics()
    assert group_extremes(measured, rows(summary_rows(measured))) == []


def test_show_says_it_in_words_and_as_json(results: Path) -> None:
    assert "what the curves show" in called("show", results).out
    assert "what the curves show" not in called("show", results, "--no-summary").out
    summed = json.loads(called("show", results, "--summary", "--json").out)
    assert [one["task"] for one in summed] == ["farm", "prose"]
    assert {"first", "last", "best", "worst", "as_good_as_best", "plateau_since"} <= set(summed[0])


def test_one_checkpoint_is_no_curve_and_that_is_said(
    tiny_llama: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    milepost.evaluate(tiny_llama, "where", output_path=tmp_path / "out", include_path=tasks, engine="padded")
    assert "one checkpoint only, so there is no curve" in called("show", tmp_path / "out").out


def test_a_note_is_not_used_for_a_curve_that_lost_a_checkpoint(results: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(results, tmp_path / "results")
    note_training(copy)
    first = sorted((copy / "store" / "metrics").rglob("*.json"))[0]
    first.write_bytes(bytes(255 - byte for byte in first.read_bytes()))
    index = LiveIndex.open(copy)
    shown = select_rows(index, gaps=False)
    assert read_cached_curves(index.folder)  # as of the same records: their names and sizes have not changed
    found = read_training(index, shown)
    index.folder.curve_cache_path.unlink()
    assert found == read_training(index, shown)
    assert {len(one.curve.measured) for one in found} == {len(trained(results)[0].curve.measured) - 1}
