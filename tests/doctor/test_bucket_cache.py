"""How much of the disk the copies of what lies in buckets take."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.doctor import bucket_cache
from milepost.doctor.bucket_cache import check_bucket_cache


def test_copies_are_counted_and_a_large_folder_comes_with_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path))
    assert list(check_bucket_cache()) == []
    (tmp_path / "buckets" / "a").mkdir(parents=True)
    (tmp_path / "buckets" / "a" / "model.safetensors").write_bytes(bytes(2_000))
    (found,) = check_bucket_cache()
    assert (found.status, found.advice) == ("ok", None)
    assert "copies of checkpoints, 1 files, 2 kB" in found.found
    monkeypatch.setattr(bucket_cache, "_LARGE", 1_000)
    (found,) = check_bucket_cache()
    assert (found.status, found.advice) == ("warning", f"rm -r {tmp_path / 'buckets'}")
