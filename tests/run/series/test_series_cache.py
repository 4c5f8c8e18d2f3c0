"""What is remembered of a series counts while its files are the same, and no longer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from milepost.run.config import EvalConfig
from milepost.run.series.prepared_series import PreparedSeries, prepare_series
from milepost.run.series.series_cache import recall_series, remember_series
from milepost.sources import discover
from milepost.tasks.settings import TaskSettings


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(tiny_run, tmp_path / "run")


def settings_for(run: Path, **given: Any) -> EvalConfig:
    tasks = TaskSettings(names=("piqa",))
    return EvalConfig(sources=(str(run),), tasks=tasks, output_path=run / "out", **given)


def remembered(run: Path) -> PreparedSeries:
    settings, series = settings_for(run), discover(str(run))
    read = prepare_series(series, settings)
    remember_series(series, settings, read)
    return read


def recalled(run: Path, **given: Any) -> PreparedSeries | None:
    return recall_series(discover(str(run)), settings_for(run, **given))


def test_what_is_recalled_is_what_was_read(own_run: Path) -> None:
    assert recalled(own_run) is None
    read, again = remembered(own_run), recalled(own_run)
    assert again is not None
    for field in fields(PreparedSeries):
        if field.name != "load_tokenizer":
            assert getattr(again, field.name) == getattr(read, field.name), field.name
    assert again.tokenizer("the cat") == read.tokenizer("the cat")
    assert again.tokenizer is again.tokenizer


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


CHANGES: dict[str, Callable[[Path], object]] = {
    "config": lambda folder: rewrite(folder / "config.json", rope_theta=5.0),
    "tokenizer": lambda folder: rewrite(folder / "tokenizer_config.json", add_prefix_space=True),
    "chat template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
    "generation": lambda folder: rewrite(folder / "generation_config.json", eos_token_id=7),
    "gone": shutil.rmtree,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_series_of_which_anything_changed_is_read_anew(
    own_run: Path, change: Callable[[Path], object]
) -> None:
    remembered(own_run)
    change(own_run / "checkpoint-20")
    assert recalled(own_run) is None


def test_another_tokenizer_asked_for_is_another_series(own_run: Path) -> None:
    remembered(own_run)
    assert recalled(own_run, tokenizer=str(own_run / "checkpoint-10")) is None


def test_a_series_with_a_checkpoint_that_does_not_fit_is_read_each_time(own_run: Path) -> None:
    rewrite(own_run / "checkpoint-30" / "config.json", vocab_size=9)
    assert len(remembered(own_run).refused) == 1
    assert recalled(own_run) is None
