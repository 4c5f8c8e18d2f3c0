"""Requests to a bucket of a real S3 server."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from milepost.buckets import Bucket, bucket_of
from milepost.errors import BucketError
from tests.buckets.server import S3Server


@pytest.fixture
def client(bucket: str) -> Bucket:
    return bucket_of(bucket)


def test_objects_are_written_listed_read_and_removed(client: Bucket) -> None:
    for key in ("a/1.json", "a/b/2.json", "c"):
        client.write(key, key.encode())
    objects, folders = client.list_folder("a")
    assert [one.key for one in objects] == ["a/1.json"]
    assert folders == ["b"]
    assert [one.key for one in client.list_folder("", recursive=True)[0]] == ["a/1.json", "a/b/2.json", "c"]
    assert client.read("a/b/2.json") == b"a/b/2.json"
    assert client.read("a/b/2.json", 2, 5) == b"b/2"
    assert client.read_many(["c", "none"]) == {"c": b"c"}
    client.remove("c")
    client.remove("c")
    assert client.object_at("c") is None
    assert client.list_folder("none") == ([], [])
    with pytest.raises(FileNotFoundError):
        client.read("c")


def test_a_list_goes_on_after_its_first_page(client: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        client.write(f"many/{number}", b"")
    monkeypatch.setattr("milepost.buckets.client.PAGE", 3)
    assert [one.key for one in client.list_folder("many")[0]] == [f"many/{number}" for number in range(7)]


def test_the_version_changes_with_the_bytes(client: Bucket) -> None:
    client.write("a", b"one")
    first = client.object_at("a")
    written = client.write("a", b"two")
    second = client.object_at("a")
    assert first.version != second.version == written.version
    assert second.size == 3


def test_an_object_is_created_once(client: Bucket) -> None:
    assert client.create("lease", b"first")
    assert not client.create("lease", b"second")
    assert client.read("lease") == b"first"


def test_of_many_that_create_an_object_at_once_one_succeeds(client: Bucket) -> None:
    for number in range(5):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda who, n=number: client.create(f"lease-{n}", b"%d" % who), range(8)))
        assert sum(won) == 1
        assert client.read(f"lease-{number}") == b"%d" % won.index(True)


def test_a_create_whose_answer_was_lost_counts_as_done(client: Bucket) -> None:
    """The request is sent again and finds its own object."""
    client.write("lease", b"me")
    assert client.create("lease", b"me")


def test_a_busy_store_is_asked_again(client: Bucket, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.buckets.client.PAUSES_S", (0.0, 0.0))
    client.write("a", b"1")
    s3.door.busy = 7  # more than s3fs itself repeats
    assert client.read("a") == b"1"


def test_the_sum_of_an_object_in_parts_is_known(client: Bucket) -> None:
    data = bytes(range(256)) * 45_000
    client.write("one", data[:1000])
    client._files.pipe_file(client._path("parts"), data, chunksize=5 * 2**20)
    one, parts = client.object_at("one"), client.object_at("parts")
    assert client.md5_of_parts("one", one.version) == (1000, hashlib.md5(data[:1000]).hexdigest())
    found = client.md5_of_parts("parts", parts.version)
    assert found is not None
    size, version = found
    sums = b"".join(hashlib.md5(data[at : at + size]).digest() for at in range(0, len(data), size))
    assert version == f"{hashlib.md5(sums).hexdigest()}-{len(sums) // 16}"


def test_a_bucket_that_does_not_exist_is_named(s3: S3Server) -> None:
    with pytest.raises(BucketError, match=f"no bucket nowhere at {s3.url}"):
        bucket_of("s3://nowhere").list_folder("x")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BucketError, match="s3://bucket needs s3fs") as refusal:
        Bucket("s3://bucket")
    assert refusal.value.hint == "pip install 'milepost[remote]'"
