"""The state of a data set changes if and only if its data changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets.config
import pytest
from huggingface_hub import constants

from milepost.network.environment_urls import hub_endpoint
from milepost.tasks.lm_eval.data_state import cache_if_hub_is_down, data_ref, data_state, is_offline
from tests.conftest import NO_HUB


def local(*files: Path) -> dict[str, Any]:
    return {"path": "json", "data_files": {"test": [str(file) for file in files]}}


def test_the_state_of_local_files_depends_on_their_content(tmp_path: Path) -> None:
    first, second = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    first.write_text("{}\n")
    second.write_text("{}\n")
    state = data_state(local(first, second))
    assert state is not None
    second.write_text("{} \n")
    assert data_state(local(first, second)) != state
    second.write_text("{}\n")
    assert data_state(local(second, first)) == state
    assert data_state(local(first)) != state


def test_missing_files_have_no_state(tmp_path: Path) -> None:
    assert data_state(local(tmp_path / "nowhere.jsonl")) is None
    assert data_state({"path": "json", "data_files": None}) is None


def test_the_state_of_a_folder_depends_on_all_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "data.jsonl").write_text("{}\n")
    ref = {"path": str(tmp_path), "data_files": None}
    state = data_state(ref)
    (tmp_path / "deep" / "more.jsonl").write_text("{}\n")
    assert data_state(ref) != state


def test_the_state_of_patterns_and_a_data_dir_depends_on_their_files(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("{}\n")
    refs = (
        data_ref("json", {"data_files": str(tmp_path / "*.jsonl")}),
        data_ref("json", {"data_files": "a.jsonl", "data_dir": str(tmp_path)}),
        data_ref("json", {"data_dir": str(tmp_path)}),
    )
    before = [data_state(ref) for ref in refs]
    assert None not in before
    (tmp_path / "a.jsonl").write_text("{} \n")
    assert all(data_state(ref) != state for ref, state in zip(refs, before, strict=True))


def test_the_state_of_a_hub_data_set_is_its_commit(hub: str) -> None:
    state = data_state({"path": "baber/piqa", "data_files": None})
    assert state is not None
    assert len(state) == 40
    assert data_state({"path": "nobody/nothing", "data_files": None}) is None


def test_the_cache_is_used_while_the_hub_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", NO_HUB)
    monkeypatch.setattr("milepost.tasks.lm_eval.data_state.PAUSES_S", (0.01,))
    with cache_if_hub_is_down(["baber/piqa"]):
        assert is_offline()
        assert datasets.config.HF_HUB_OFFLINE
    assert not is_offline()


def test_nothing_changes_while_the_hub_answers_or_is_not_needed(hub: str) -> None:
    for repo_ids in (["baber/piqa"], ["nobody/nothing"], []):
        with cache_if_hub_is_down(repo_ids):
            assert not is_offline()


def test_credentials_in_the_address_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "https://me:secret@hub.example:8443")
    assert hub_endpoint() == "https://hub.example:8443"
