"""Runs on disk: which folders are checkpoints, in which order, and what keeps one from being evaluated."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.errors import SourceError, TokenizerError
from milepost.sources import Steps, discover, discover_all, tokenizer_location
from tests.sources.folders import CONFIG, model, refusal_of, safetensors, sharded


def names(series: Any) -> Any:
    return [one.name for one in series.checkpoints]


def only(source: str | Path) -> Any:
    (checkpoint,) = discover(str(source)).checkpoints
    return checkpoint


def test_a_model_folder_is_a_series_of_one(tmp_path: Path) -> None:
    folder = model(tmp_path / "pythia-160m")
    series = discover(str(folder))
    (one,) = series.checkpoints
    assert (series.name, one.name, one.step) == ("pythia-160m", "pythia-160m", None)
    assert (one.format, one.size_bytes, one.problem) == (
        "safetensors",
        (folder / "model.safetensors").stat().st_size,
        None,
    )
    assert one.location == folder
    assert one.source == str(folder)


def test_above_a_link_lies_the_folder_above_the_one_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(tmp_path / "disk" / "runs" / "pythia-160m")
    (tmp_path / "disk" / "work").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "work")
    monkeypatch.chdir(tmp_path)
    assert only("link/../runs/pythia-160m").location == folder.resolve()


def test_a_trainer_run_is_its_numbered_checkpoints_and_not_the_final_model_beside_them(
    tmp_path: Path,
) -> None:
    for step in (500, 1000, 30):
        model(tmp_path / "run" / f"checkpoint-{step}")
    model(tmp_path / "run")
    (tmp_path / "run" / "trainer_state.json").write_text("{}")
    series = discover(str(tmp_path / "run"))
    assert names(series) == ["checkpoint-30", "checkpoint-500", "checkpoint-1000"]
    assert [one.step for one in series.checkpoints] == [30, 500, 1000]


@pytest.mark.parametrize(
    ("folders", "steps"),
    [
        (["iter_0002000", "iter_0000500"], [500, 2000]),
        (["step-125000", "step-2500"], [2500, 125000]),
        (["step2000-tokens8B", "step1000-tokens4B"], [1000, 2000]),
        (["b9", "a10", "final"], [9, 10, None]),
    ],
)
def test_a_folder_of_models_is_a_run_ordered_by_the_step_in_the_names(
    tmp_path: Path, folders: Any, steps: Any
) -> None:
    for folder in folders:
        model(tmp_path / "run" / folder)
    series = discover(str(tmp_path / "run"))
    assert series.name == "run"
    assert [one.step for one in series.checkpoints] == steps


def test_a_pattern_selects_among_the_folders_of_a_run(tmp_path: Path) -> None:
    for folder in ("step-1", "step-2", "other-3"):
        model(tmp_path / "run" / folder)
    series = discover(str(tmp_path / "run" / "step-*"))
    assert (series.name, names(series)) == ("run", ["step-1", "step-2"])


def test_a_pattern_over_runs_gives_a_series_each(tmp_path: Path) -> None:
    for run in ("a", "b"):
        for step in (1, 2):
            model(tmp_path / run / f"step-{step}")
    assert [one.name for one in discover_all([str(tmp_path / "*" / "step-*")])] == ["a", "b"]
    assert [one.name for one in discover_all([str(tmp_path / "*")])] == ["a", "b"]
    with pytest.raises(SourceError, match="2 runs: a, b"):
        discover(str(tmp_path / "*"))


def test_checkpoints_given_one_by_one_form_one_series_and_a_second_mention_counts_once(
    tmp_path: Path,
) -> None:
    one, two = model(tmp_path / "run" / "step-1"), model(tmp_path / "run" / "step-2")
    (series,) = discover_all([str(two), str(one), str(two)])
    assert (series.name, names(series)) == ("run", ["step-1", "step-2"])


def test_a_link_and_its_folder_are_one_series_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        model(tmp_path / "run" / f"checkpoint-{step}")
    (tmp_path / "link").symlink_to("run")
    (series,) = discover_all([str(tmp_path / "run"), str(tmp_path / "link"), str(tmp_path / "link")])
    assert (series.name, series.root) == ("run", str(tmp_path / "run"))
    assert names(series) == ["checkpoint-1", "checkpoint-2"]
    assert [checkpoint.location for checkpoint in series.checkpoints] == [
        tmp_path / "run" / "checkpoint-1",
        tmp_path / "run" / "checkpoint-2",
    ]
    said = f"{tmp_path / 'run'} and {tmp_path / 'link'} are the same folder, so they are one series"
    assert caplog.messages == [said]


def test_checkpoints_named_through_a_link_join_those_of_its_folder(tmp_path: Path) -> None:
    for step in (1, 2):
        model(tmp_path / "run" / f"step-{step}")
    (tmp_path / "link").symlink_to("run")
    (series,) = discover_all([str(tmp_path / "run" / "step-2"), str(tmp_path / "link" / "step-1")])
    assert names(series) == ["step-1", "step-2"]


def test_runs_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        model(tmp_path / parent / "run" / "step-1")
    model(tmp_path / "other" / "step-1")
    sources = [str(tmp_path / "a" / "run"), str(tmp_path / "b" / "run"), str(tmp_path / "other")]
    found = discover_all(sources)
    assert [one.name for one in found] == ["a-run", "b-run", "other"]
    assert all(one.series == series.name for series in found for one in series.checkpoints)


def test_steps_select_checkpoints_and_selecting_none_says_which_there_are(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        model(tmp_path / "run" / f"step-{step}")
    source = str(tmp_path / "run")
    assert names(discover(source, Steps.parse("20:"))) == ["step-20", "step-30"]
    with pytest.raises(SourceError) as refusal:
        discover(source, Steps.parse("40:50"))
    assert "40:50" in refusal.value.message
    assert "10, 20, 30" in refusal.value.hint


def test_a_config_in_the_folder_above_is_enough(tmp_path: Path) -> None:
    folder = model(tmp_path / "run" / "step-1")
    (folder / "config.json").rename(tmp_path / "run" / "config.json")
    assert only(folder).problem is None
    (tmp_path / "run" / "config.json").unlink()
    assert "config.json is missing" in only(folder).problem


def test_shards_are_checked_against_their_index(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    assert only(folder).problem is None
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert only(folder).problem == "missing: model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").unlink()
    assert only(folder).problem == "model.safetensors.index.json is missing"


@pytest.mark.parametrize(
    "index",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"weight_map": {}}',
        b'{"weight_map": {"w": 1}}',
        b'{"weight_map": {"w": "../other/model.safetensors"}}',
        b'{"weight_map": {"w": "/etc/passwd"}}',
        b'{"weight_map": {"w": ".."}}',
        b"[" * 100_000,
    ],
)
def test_an_index_that_is_broken_or_points_outside_is_a_problem(tmp_path: Path, index: Any) -> None:
    folder = sharded(tmp_path / "m")
    (folder / "model.safetensors.index.json").write_bytes(index)
    assert "model.safetensors.index.json" in only(folder).problem


def test_a_file_that_is_empty_or_cut_short_is_a_problem(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    assert "model.safetensors has 3 bytes of data where its header promises 4" in only(folder).problem
    (folder / "model.safetensors").write_bytes(b"")
    assert only(folder).problem == "model.safetensors is empty"
    safetensors(folder / "model.safetensors")
    (folder / "config.json").write_bytes(b"")
    assert only(folder).problem == "config.json is empty"


def test_a_link_out_of_the_folder_is_refused_and_one_within_a_hub_cache_is_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    safetensors(outside)
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(outside)
    assert only(folder).problem == "model.safetensors is a link out of the folder"

    cache = tmp_path / "models--org--name"
    snapshot = model(cache / "snapshots" / "abc")
    (cache / "blobs").mkdir()
    (snapshot / "model.safetensors").rename(cache / "blobs" / "1")
    (snapshot / "model.safetensors").symlink_to("../../blobs/1")
    assert only(snapshot).problem is None
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(outside)
    assert only(snapshot).problem == "config.json is a link out of the folder"


def test_a_config_or_tokenizer_above_a_checkpoint_may_not_be_a_link_out_either(tmp_path: Path) -> None:
    folder = model(tmp_path / "run" / "step-1")
    for name in ("config.json", "tokenizer.json"):
        (folder / name).rename(tmp_path / name)
        (tmp_path / "run" / name).symlink_to(tmp_path / name)
    assert only(folder).problem == "config.json is a link out of the folder"
    (tmp_path / "run" / "config.json").unlink()
    shutil.copy(tmp_path / "config.json", folder)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is a link out of its folder"):
        tokenizer_location(only(folder))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("model.safetensors", "model.safetensors is a folder, not a file"),
        ("model.safetensors.index.json", None),
        ("config.json", "config.json is not a file"),
    ],
)
def test_a_folder_in_place_of_a_file_is_a_problem_and_no_missing_checkpoint(
    tmp_path: Path, name: str, problem: str
) -> None:
    folder = model(tmp_path / "run" / "step-1")
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    shutil.copy(folder.parent / "step-1" / "tokenizer.json", tmp_path)
    (checkpoint,) = discover(str(tmp_path / "run")).checkpoints
    assert checkpoint.problem == problem


def test_a_bin_file_that_is_still_being_written_is_a_problem(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", "x" * 100)
    whole = (folder / "pytorch_model.bin").read_bytes()
    assert only(folder).problem is None
    (folder / "pytorch_model.bin").write_bytes(whole[:-1])
    assert only(folder).problem == "pytorch_model.bin is cut short"


def test_a_dangling_link_counts_as_a_missing_file(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    shard = folder / "model-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(tmp_path / "gone")
    assert only(folder).problem == "model-00001-of-00002.safetensors is a link to a file that is not there"


def test_a_save_that_has_only_begun_is_listed_and_training_state_alone_lacks_weights(tmp_path: Path) -> None:
    run = tmp_path / "run"
    model(run / "step-1")
    (run / "step-2").mkdir()
    (run / "step-3").mkdir()
    (run / "step-3" / "config.json").write_text("{}")
    (run / "step-3" / "model.safetensors.tmp").write_bytes(b"1")
    (run / "step-4").mkdir()
    (run / "step-4" / "optimizer.pt").write_bytes(b"1")
    (run / "logs").mkdir()
    model(run / "tmp-checkpoint-5")
    series = discover(str(run))
    problems = {one.name: one.problem for one in series.checkpoints}
    assert problems == {
        "step-1": None,
        "step-2": "no weights in it yet",
        "step-3": "no weights in it yet",
        "step-4": "weights are missing: there is only training state (optimizer.pt)",
        "tmp-checkpoint-5": "still being written",
    }


def test_a_link_to_the_latest_checkpoint_is_not_a_second_one(tmp_path: Path) -> None:
    model(tmp_path / "run" / "step-1")
    (tmp_path / "run" / "latest").symlink_to("step-1")
    assert names(discover(str(tmp_path / "run"))) == ["step-1"]


def test_safetensors_are_preferred_where_both_formats_are_there(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "pytorch_model.bin").write_bytes(b"1")
    assert only(folder).format == "safetensors"
    (folder / "model.safetensors").unlink()
    assert only(folder).format == "bin"


@pytest.mark.parametrize(
    ("run", "format"),
    [
        ("megatron/llama_legacy_tp1", "megatron"),
        ("megatron/gpt2_legacy_tp2", "megatron"),
        ("megatron/llama_legacy_pp2_vpp2", "megatron"),
        ("megatron/llama_torch_dist_tp1", "megatron-dist"),
    ],
)
def test_runs_of_megatron_are_complete(shared: Path, run: Path, format: str) -> None:
    series = discover(str(shared / "checkpoints" / run))
    assert [one.format for one in series.checkpoints] == [format] * 3
    assert [one.step for one in series.checkpoints] == [20, 40, 60]
    assert [one.problem for one in series.checkpoints] == [None] * 3
    assert all(one.size_bytes > 100_000 for one in series.checkpoints)


def test_real_runs_are_complete(shared: Path) -> None:
    runs = shared / "checkpoints" / "hf"
    found = discover_all([str(runs / "trainer_llama"), str(runs / "sharded_llama")])
    assert [names(series) for series in found] == [
        ["checkpoint-10", "checkpoint-20", "checkpoint-30"],
        ["checkpoint-30"],
    ]
    assert all(one.problem is None for series in found for one in series.checkpoints)


def test_a_source_that_does_not_exist_shows_the_names_nearby(tmp_path: Path) -> None:
    model(tmp_path / "trainer_llama")
    for wanted in ("trainer_lama", "trainer-*", "trainer_lama/step-*"):
        with pytest.raises(SourceError) as refusal:
            discover(str(tmp_path / wanted))
        assert "trainer_llama" in refusal.value.hint


def test_a_hub_name_without_its_scheme_is_answered_with_the_address_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as refusal:
        discover("org/name")
    assert "hf://org/name" in refusal.value.hint


def test_a_folder_without_checkpoints_says_where_there_are_some(tmp_path: Path) -> None:
    model(tmp_path / "runs" / "a" / "step-1")
    with pytest.raises(SourceError) as refusal:
        discover(str(tmp_path / "runs"))
    assert str(tmp_path / "runs" / "a") in refusal.value.hint
    with pytest.raises(SourceError, match="is a file"):
        discover(str(tmp_path / "runs" / "a" / "step-1" / "config.json"))


def test_a_folder_that_cannot_be_read_is_told_and_not_a_traceback(tmp_path: Path) -> None:
    folder = model(tmp_path / "run" / "step-1")
    model(tmp_path / "run" / "step-2")
    os.chmod(folder, 0)
    try:
        problems = [one.problem for one in discover(str(tmp_path / "run")).checkpoints]
    finally:
        os.chmod(folder, 0o700)
    if os.geteuid() != 0:
        assert problems == ["cannot be read: Permission denied", None]
    else:
        assert problems == [None, None]


@given(st.text(max_size=40).filter(lambda text: "*" not in text and "?" not in text))
def test_any_source_is_found_or_refused(source: str) -> None:
    refusal = refusal_of(lambda: discover(source))
    assert refusal is None or refusal.message.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON | st.fixed_dictionaries({"weight_map": JSON}))
def test_any_index_is_read_or_told_to_be_wrong(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-index"
    if not folder.exists():
        sharded(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps(value))
    assert only(folder).problem is not None


def test_a_run_whose_checkpoint_vanishes_while_it_is_listed_still_lists_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    from milepost.sources import local_folder

    model(tmp_path / "run" / "step-1", config=CONFIG)
    model(tmp_path / "run" / "step-2")

    def remove_then_inspect(folder: Path, given: Any) -> Any:
        if folder.name == "step-1":
            shutil.rmtree(folder)
        return inspect(folder, given)

    inspect = local_folder._inspect
    monkeypatch.setattr(local_folder, "_inspect", remove_then_inspect)
    problems = {one.name: one.problem for one in discover(str(tmp_path / "run")).checkpoints}
    assert problems == {"step-1": "cannot be read: No such file or directory", "step-2": None}
