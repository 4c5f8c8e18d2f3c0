"""`milepost doctor`: what is in order, what is not, and a command that mends it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, snapshot_download

from milepost.doctor import disk, machine, mirror
from tests.cli.called import Called, milepost
from tests.sources.folders import safetensors

CHECKS = ["python", "torch", "device", "gpu", "lm_eval", "mirror", "clock", "cached files", "disk: results",
          "disk: cache", "disk: Hub cache"]  # fmt: skip
COMMIT = "0" * 40
SHA256 = "ab" * 32


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache; Milepost's own is empty too, whatever other tests have copied from buckets."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path / "milepost"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def told(called: Called, check: str) -> list[dict[str, Any]]:
    return [finding for finding in json.loads(called.out) if finding["check"] == check]


def cached(cache: Path, name: str, blob: str, content: bytes | None) -> Path:
    """A file in the cache's layout; without content its blob is gone."""
    repository = cache / "models--org--name"
    link = repository / "snapshots" / COMMIT / name
    for folder in (repository / "blobs", link.parent):
        folder.mkdir(parents=True, exist_ok=True)
    link.symlink_to(repository / "blobs" / blob)
    if content is not None:
        link.write_bytes(content)
    return link


def test_a_machine_in_order_has_a_line_for_each_check_and_status_0(hub: str, cache: Path) -> None:
    called = milepost("doctor", "--json")
    findings = json.loads(called.out)
    assert [list(finding) for finding in findings] == [["check", "status", "found", "advice"]] * len(CHECKS)
    assert [finding["check"] for finding in findings] == CHECKS
    assert {finding["status"] for finding in findings} <= {"ok", "warning"}, findings
    assert called.status == 0
    (answer,) = told(called, "mirror")
    assert hub in answer["found"]
    assert "/s" in answer["found"]
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in told(called, "python")[0]["found"]
    lines = milepost("doctor").out.splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "] == [one["status"] for one in findings]


@pytest.mark.parametrize(
    ("endpoint", "reason"), [("http://someone:pass3word@127.0.0.1:9", "refused"), ("nonsense", "unknown url")]
)
def test_a_mirror_that_does_not_answer_is_broken_and_named_without_credentials(
    cache: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, reason: str
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    called = milepost("doctor", "--json")
    assert called.status == 1
    (finding,) = told(called, "mirror")
    assert finding["status"] == "broken"
    assert reason in finding["found"].lower()
    assert "HF_ENDPOINT" in finding["advice"]
    assert "pass3word" not in called.out


def test_offline_the_mirror_is_not_asked(cache: Path, no_hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    called = milepost("doctor", "--json")
    assert called.status == 0
    assert "HF_HUB_OFFLINE" in told(called, "mirror")[0]["found"]


def test_a_clock_that_is_off_and_a_slow_line_are_warnings() -> None:
    behind = mirror._clock(mirror._Answer(1e9, mirror._skew("Fri, 01 Jan 2100 00:00:00 GMT")))
    assert behind.status == "warning"
    assert "behind the mirror's" in behind.found
    assert mirror._clock(mirror._Answer(1e9, -90.0)).found == "90 s ahead of the mirror's"
    assert mirror._clock(mirror._Answer(1e9, 3.0)).status == "ok"
    assert mirror._clock(mirror._Answer(1e9, mirror._skew("yesterday"))).status == "ok"
    assert mirror._speed(mirror._Answer(2e5, None)).status == "warning"


Damage = Callable[[Path], object]


def whole_safetensors(folder: Path) -> bytes:
    safetensors(folder / "whole")
    return (folder / "whole").read_bytes()


@pytest.mark.parametrize(
    ("name", "blob", "change", "deep", "damage"),
    [
        ("model.safetensors", SHA256, lambda whole: whole[:-1], False, "bytes of data"),
        ("model.safetensors", SHA256, lambda whole: whole, False, None),
        ("model.safetensors", SHA256, lambda whole: whole, True, "SHA-256 is not the published one"),
        ("model.safetensors", SHA256, lambda whole: None, False, "leads to a file that is gone"),
        ("a b/config.json", "cd" * 20, lambda whole: b"{}", False, "git id is not the published one"),
        (
            "config.json",
            "9e26dfeeb6e641a33dae4961196235bdb965b21b",  # `echo -n {} | git hash-object --stdin`
            lambda whole: b"{}",
            True,
            None,
        ),
        ("\x1b[31mconfig.json", "cd" * 20, lambda whole: b"{}", False, "\\x1b[31mconfig.json"),
    ],
)
def test_a_broken_file_in_the_cache_is_named_with_the_command_that_mends_it(
    cache: Path,
    no_hub: None,
    tmp_path: Path,
    name: str,
    blob: str,
    change: Any,
    deep: bool,
    damage: str | None,
) -> None:
    cached(cache, name, blob, change(whole_safetensors(tmp_path)))
    called = milepost("doctor", "--json", *(["--deep"] if deep else []))
    first, *_ = told(called, "cached files")
    assert called.status == (0 if damage is None else 1)
    if damage is None:
        assert "1 files" in first["found"]
        assert first["status"] == "ok"
    else:
        assert damage in first["found"]
        words = shlex.split(first["advice"])
        assert words == [
            "hf", "download", "org/name", name, "--revision", COMMIT, "--force-download"
        ]  # fmt: skip
    assert "\x1b" not in milepost("doctor").out


def test_the_command_mends_the_file(hub: str, cache: Path) -> None:
    snapshot = Path(snapshot_download("openai-community/gpt2", allow_patterns=["*config.json"]))
    blob = (snapshot / "config.json").resolve()
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-2])
    called = milepost("doctor", "--json")
    assert called.status == 1
    command = shlex.split(told(called, "cached files")[0]["advice"])
    command[0] = str(Path(sys.executable).with_name("hf"))
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"HF_HUB_CACHE": str(cache)})
    assert (snapshot / "config.json").read_bytes() == whole
    assert milepost("doctor", "--json").status == 0


def test_downloads_that_were_never_finished_are_told(cache: Path, no_hub: None) -> None:
    cached(cache, "config.json", "cd" * 20, b"{}").unlink()
    blobs = cache / "models--org--name" / "blobs"
    (blobs / "new.incomplete").write_bytes(b"1")
    (blobs / "old.incomplete").write_bytes(b"1")
    os.utime(blobs / "old.incomplete", (0, 0))
    old, new, _ = told(milepost("doctor", "--json"), "cached files")
    assert old["status"] == "warning"
    assert old["advice"] == f"rm {blobs / 'old.incomplete'}"
    assert (new["status"], new["found"]) == ("ok", "1 downloads under way")


def test_a_disk_that_is_full_or_cannot_be_written_is_broken(
    cache: Path, no_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    called = milepost("doctor", tmp_path / "file" / "results", "--json")
    assert called.status == 1
    assert "cannot be written" in told(called, "disk: results")[0]["found"]

    usage = namedtuple("usage", "total used free")
    for free, status in ((10e6, "broken"), (900e6, "warning"), (1e12, "ok")):
        with monkeypatch.context() as patch:
            patch.setattr(disk.shutil, "disk_usage", lambda path, free=free: usage(1e12, 0, free))
            found = told(milepost("doctor", tmp_path, "--json"), "disk: results")[0]
        assert found["status"] == status
        assert bool(found["advice"]) == (status != "ok")


def test_another_lm_eval_than_the_tested_one_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_lm_eval().status == "ok"
    monkeypatch.setattr(machine.metadata, "version", lambda name: "0.3.0")
    finding = machine.check_lm_eval()
    assert finding.status == "warning"
    assert finding.advice == "pip install lm_eval==0.4.13"
