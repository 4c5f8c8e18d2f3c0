"""Addresses of places in object stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.buckets import BucketPath, as_path, in_bucket
from milepost.errors import MilepostError


def test_an_address_is_a_path_that_keeps_both_slashes() -> None:
    path = as_path("s3://bucket/results")
    assert isinstance(path, BucketPath)
    assert str(path / "store" / "runs") == "s3://bucket/results/store/runs"
    assert str(path.parent) == "s3://bucket"
    assert (path.bucket, path.key, path.parent.key) == ("s3://bucket", "results", "")
    assert (path / "a" / "b").relative_to(path).as_posix() == "a/b"


def test_an_address_survives_being_made_a_plain_path() -> None:
    """Callers wrap what they are given in Path, which takes one of the slashes."""
    assert as_path(Path("s3://bucket/results")) == as_path("s3://bucket/results")
    assert str(as_path(Path("gs://bucket/results"))) == "gs://bucket/results"


@pytest.mark.parametrize("given", ["results", "/s3/bucket", "./s3:/x", "hf://org/name"])
def test_other_places_stay_as_they_are(given: str) -> None:
    assert not in_bucket(given)
    assert type(as_path(given)) is type(Path())


@pytest.mark.parametrize(
    "given", ["s3://", "s3:///results", "s3://key:word@bucket/x", "s3://b/x/../y", "gs://-/x"]
)
def test_an_address_without_a_proper_bucket_is_refused(given: str) -> None:
    with pytest.raises(MilepostError, match="not an address of a bucket") as refusal:
        as_path(given)
    assert "s3://bucket/folder" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "method", ["exists", "stat", "mkdir", "open", "iterdir", "is_dir", "resolve", "read_bytes"]
)
def test_no_method_takes_an_address_for_a_file_on_this_disk(method: str) -> None:
    """Else a forgotten call would make a folder named `s3:`."""
    with pytest.raises(TypeError, match="is in a bucket"):
        getattr(as_path("s3://bucket/results"), method)()
