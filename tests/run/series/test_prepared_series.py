"""What makes checkpoints a series, told from their configs and tokenizers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from milepost import weights
from milepost.errors import SourceError, TokenizerError
from milepost.run.config import EvalConfig
from milepost.run.series.prepared_series import PreparedSeries, prepare_series
from milepost.sources import discover
from milepost.tasks.settings import TaskSettings


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_run, tmp_path / "run")


def prepared(run: Path, **given: Any) -> PreparedSeries:
    settings = EvalConfig(
        sources=(str(run),), tasks=TaskSettings(names=("piqa",)), output_path=run / "out", **given
    )
    return prepare_series(discover(str(run)), settings)


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_checkpoints_of_one_shape_and_tokenizer_are_a_series(own_run: Path) -> None:
    series = prepared(own_run)
    assert [checkpoint.step for checkpoint in series.checkpoints] == [10, 20, 30]
    assert series.refused == ()
    assert series.max_length == 256
    assert set(series.dtypes.values()) == {"float32"}


def test_what_most_have_is_what_the_series_is(own_run: Path) -> None:
    change_config(own_run / "checkpoint-10", max_position_embeddings=512)
    series = prepared(own_run)
    ((checkpoint, reason),) = series.refused
    assert checkpoint.step == 10
    assert "max_position_embeddings" in reason
    assert series.max_length == 256


def test_equal_tokenizers_are_loaded_once(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = weights.load_tokenizer
    monkeypatch.setattr(weights, "load_tokenizer", lambda folder: loaded.append(folder.name) or load(folder))
    assert prepared(own_run).refused == ()
    assert len(loaded) == 1
    change_config(own_run / "checkpoint-20", max_position_embeddings=256, transformers_version="other")
    assert prepared(own_run).refused == ()
    assert len(loaded) == 3  # files differ, and only loading tells that the tokenizer does not


def test_of_equally_many_the_earliest_count(own_run: Path) -> None:
    shutil.rmtree(own_run / "checkpoint-30")
    change_config(own_run / "checkpoint-20", max_position_embeddings=512)
    assert [checkpoint.step for checkpoint in prepared(own_run).checkpoints] == [10]


def test_a_checkpoint_without_tokenizer_takes_that_of_the_others(own_run: Path) -> None:
    for path in (own_run / "checkpoint-10").glob("*token*"):
        path.unlink()
    series = prepared(own_run)
    assert len(series.checkpoints) == 3
    assert series.refused == ()


def test_a_series_without_any_tokenizer_or_usable_checkpoint_is_refused(own_run: Path) -> None:
    for path in own_run.glob("*/*token*"):
        path.unlink()
    with pytest.raises(TokenizerError):
        prepared(own_run)
    for folder in own_run.iterdir():
        change_config(folder, model_type="bert", architectures=["BertForMaskedLM"])
    with pytest.raises(SourceError, match=r"no checkpoint can be evaluated.*and 2 more"):
        prepared(own_run)


def test_a_series_in_which_no_generation_settings_are_usable_is_refused(own_run: Path) -> None:
    first, *others = sorted(own_run.iterdir())
    for folder in others:
        (folder / "generation_config.json").write_text('{"eos_token_id": 1.5}')
    assert [one.name for one, _why in prepared(own_run).refused] == [folder.name for folder in others]
    (first / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(SourceError, match=r"no checkpoint can be evaluated; .*and 2 more") as refusal:
        prepared(own_run)
    assert refusal.value.exit_code == 2


def test_a_tokenizer_given_is_used_for_all(own_run: Path, tiny_llama: Path) -> None:
    (own_run / "checkpoint-20" / "tokenizer.json").write_text("{")
    series = prepared(own_run, tokenizer=str(tiny_llama))
    assert len(series.checkpoints) == 3
