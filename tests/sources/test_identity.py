"""The model id of a checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from milepost.errors import CheckpointError
from milepost.sources import digests, discover, identify
from tests.sources.folders import CONFIG, model, sharded


def identity(folder: Path, cache: Path) -> Any:
    (checkpoint,) = discover(str(folder)).checkpoints
    return identify(checkpoint, cache)


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    return tmp_path / "cache"


def test_the_same_model_under_two_names_has_one_identity(tmp_path: Path, cache: Path) -> None:
    one = identity(model(tmp_path / "a" / "step-1"), cache)
    two = identity(model(tmp_path / "b" / "step-2"), cache)
    assert one == two
    assert len(one.model_id) == 64
    assert [(file.name, len(file.sha256)) for file in one.files] == [("model.safetensors", 64)]


def test_a_config_in_the_folder_above_counts_as_the_checkpoints_own(tmp_path: Path, cache: Path) -> None:
    own = identity(model(tmp_path / "own"), cache)
    folder = model(tmp_path / "run" / "step-1")
    (folder / "config.json").rename(tmp_path / "run" / "config.json")
    assert identity(folder, cache) == own


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"_name_or_path": "/somewhere"}, True),
        ({"transformers_version": "4.1"}, True),
        ({"rope_theta": 5e5}, False),
        ({"dtype": "float16"}, False),
    ],
)
def test_what_computes_belongs_to_the_identity_and_where_it_came_from_does_not(
    tmp_path: Path, cache: Path, change: Any, same: Any
) -> None:
    one = identity(model(tmp_path / "a"), cache)
    two = identity(model(tmp_path / "b", config=CONFIG | change), cache)
    assert (one.model_id == two.model_id) is same


def test_the_old_name_of_dtype_is_the_same_entry(tmp_path: Path, cache: Path) -> None:
    one = identity(model(tmp_path / "a", config=CONFIG | {"torch_dtype": "float16"}), cache)
    two = identity(model(tmp_path / "b", config=CONFIG | {"dtype": "float16"}), cache)
    assert one == two


def test_a_folder_overwritten_in_place_is_another_model(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_S", 0)
    folder = model(tmp_path / "m")
    before = identity(folder, cache)
    model(folder, values=b"\5\6\7\0")
    assert identity(folder, cache).model_id != before.model_id


def test_other_content_with_the_size_and_time_of_an_earlier_visit_is_refused_until_touched(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_S", 0)
    folder = model(tmp_path / "m")
    weights = folder / "model.safetensors"
    before = identity(folder, cache)
    old = weights.stat()
    model(folder, values=b"\1\2\3\5")
    os.utime(weights, ns=(old.st_atime_ns, old.st_mtime_ns))
    for _ in range(2):  # the refused content is not remembered as the new truth
        with pytest.raises(CheckpointError, match=r"model\.safetensors has other content") as refusal:
            identity(folder, cache)
        assert "touch" in refusal.value.hint
    model(folder)
    os.utime(weights, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert identity(folder, cache) == before
    model(folder, values=b"\1\2\3\5")
    os.utime(weights)
    assert identity(folder, cache).model_id != before.model_id


def sum_of(path: Any) -> Any:
    return hashlib.sha256(path.read_bytes()).hexdigest()


FORMS = {
    "SHA256SUMS": ["{sum}  {name}", "{sum} *./{name}", "SHA256 ({name}) = {sum}", "0\n\n{SUM}  {name}\n# x"],
    "model.safetensors.sha256": ["{sum}", "{SUM}\n", "{sum}  {name}\n"],
}


@pytest.mark.parametrize(("file", "form"), [(file, form) for file, forms in FORMS.items() for form in forms])
def test_a_sum_beside_the_weights_is_checked_in_every_usual_form(
    tmp_path: Path, cache: Path, file: Any, form: Any
) -> None:
    folder = model(tmp_path / "m")
    weights = folder / "model.safetensors"
    told = sum_of(weights)
    (folder / file).write_text(form.format(sum=told, SUM=told.upper(), name=weights.name))
    assert identity(folder, cache).files[0].sha256 == told
    model(folder, values=b"\1\2\3\5")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        identity(folder, cache)


def test_sums_of_config_and_index_are_checked_too(tmp_path: Path, cache: Path) -> None:
    folder = sharded(tmp_path / "m")
    names = ("config.json", "model.safetensors.index.json")
    (folder / "SHA256SUMS").write_text("".join(f"{sum_of(folder / name)}  {name}\n" for name in names))
    assert identity(folder, cache).model_id
    for name in names:
        text = (folder / name).read_text()
        (folder / name).write_text(text + " ")
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            identity(folder, cache)
        (folder / name).write_text(text)


def test_a_file_of_sums_that_says_nothing_or_two_things_is_named(tmp_path: Path, cache: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "SHA256SUMS").write_text("not a sum\n")
    assert identity(folder, cache).model_id  # it promises nothing about our files
    own = folder / "model.safetensors.sha256"
    own.write_text("")
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.sha256 has no SHA-256"):
        identity(folder, cache)
    own.write_text("0" * 64)
    (folder / "SHA256SUMS").write_text("1" * 64 + "  model.safetensors")
    with pytest.raises(CheckpointError, match="contradict each other"):
        identity(folder, cache)
    own.unlink()
    own.mkdir()
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.sha256 cannot be read"):
        identity(folder, cache)


def test_an_unchanged_file_is_read_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sharded(tmp_path / "m")
    monkeypatch.setattr(digests, "SETTLED_S", 0)
    reads = []
    read = digests._read
    monkeypatch.setattr(digests, "_read", lambda path: (reads.append(path.name), read(path))[1])
    first = identity(folder, cache)
    assert identity(folder, cache) == first
    assert len(reads) == 2
    shutil.rmtree(cache)
    assert identity(folder, cache) == first
    assert len(reads) == 4


def test_a_file_written_to_a_moment_ago_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    identity(model(tmp_path / "m"), cache)
    assert not (cache / "sha256").exists()


def test_a_damaged_memory_costs_only_a_reading(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(tmp_path / "m")
    monkeypatch.setattr(digests, "SETTLED_S", 0)
    first = identity(folder, cache)
    (note,) = (cache / "sha256").iterdir()
    for text in ("", "{", "[]", "null", json.dumps({"signature": 1})):
        note.write_text(text)
        assert identity(folder, cache) == first


def test_a_cache_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_S", 0)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert identity(model(tmp_path / "m"), blocked).model_id


def test_a_checkpoint_with_a_problem_has_no_identity(tmp_path: Path, cache: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is empty"):
        identity(folder, cache)


def test_a_config_that_does_not_parse_is_named(tmp_path: Path, cache: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json does not parse"):
        identity(folder, cache)
