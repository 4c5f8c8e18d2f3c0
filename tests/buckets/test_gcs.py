"""Google Cloud Storage, by gcsfs and a server on loopback that knows generations."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.buckets import Bucket, bucket_of
from milepost.store import bucket_files
from tests.buckets.gcs_server import GcsServer, serve_gcs
from tests.run.executors.same_records import assert_same_records
from tests.run.own_tasks import write_tasks

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[GcsServer]:
    """A server with one bucket."""
    with serve_gcs(f"bucket-{secrets.token_hex(4)}") as made, pytest.MonkeyPatch.context() as environment:
        for name, value in made.environment.items():
            environment.setenv(name, value)
        from fsspec.config import conf, set_conf_env

        set_conf_env(conf)
        yield made
        conf.pop("gcs")
        bucket_of.cache_clear()
        bucket_files._of_buckets.clear()


@pytest.fixture
def client(server: GcsServer) -> Bucket:
    server.objects.clear()
    return bucket_of(f"gs://{server.bucket}")


def test_objects_are_written_listed_read_and_removed(client: Bucket) -> None:
    data = b"one\r\ntwo\n\n--three"
    client.write("a/1", data)
    client.write("a/b/2", b"2")
    assert client.read("a/1") == data
    assert client.read("a/1", 3, 6) == data[3:6]
    found = client.object_at("a/1")
    assert (found.key, found.size) == ("a/1", len(data))
    assert [one.key for one in client.list_folder("a")[0]] == ["a/1"]
    assert client.list_folder("a")[1] == ["b"]
    assert [one.key for one in client.list_folder("", recursive=True)[0]] == ["a/1", "a/b/2"]
    client.remove("a/1")
    client.remove("a/1")
    assert client.object_at("a/1") is None
    with pytest.raises(FileNotFoundError):
        client.read("a/1")


def test_a_list_goes_on_after_its_first_page(client: Bucket) -> None:
    names = [f"many/{number:02}" for number in range(12)]
    for name in names:
        client.write(name, b"")
    assert [one.key for one in client.list_folder("many")[0]] == names


def test_the_version_changes_with_the_bytes(client: Bucket) -> None:
    client.write("a", b"one")
    first = client.object_at("a")
    client.write("a", b"two")
    assert client.object_at("a").version != first.version


def test_of_many_that_create_an_object_at_once_one_succeeds(client: Bucket) -> None:
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: client.create("lease", b"%d" % number), range(8)))
    assert sum(created) == 1
    assert client.read("lease") == b"%d" % created.index(True)
    assert not client.create("lease", b"another")


def test_a_store_that_is_busy_is_asked_again(client: Bucket, server: GcsServer) -> None:
    client.write("a", b"one")
    server.busy = 1
    assert client.read("a") == b"one"
    assert server.busy == 0


def test_checkpoints_and_results_lie_in_the_bucket(
    client: Bucket, server: GcsServer, tiny_run: Path, tmp_path: Path
) -> None:
    for path in sorted((tiny_run / "checkpoint-10").iterdir()):
        client.write(f"run/checkpoint-10/{path.name}", path.read_bytes())
    asked: dict[str, Any] = {"include_path": write_tasks(tmp_path / "tasks")}
    local = milepost.evaluate(tiny_run / "checkpoint-10", "where", output_path=tmp_path / "local", **asked)
    address = f"{client.address}/results"
    source = f"{client.address}/run/checkpoint-10"
    assert len(milepost.evaluate(source, "where", output_path=address, **asked).scored) == 1
    assert len(milepost.evaluate(source, "where", output_path=address, **asked).reused) == 1
    for one in client.list_folder("results", recursive=True)[0]:
        path = tmp_path / "copy" / one.key.removeprefix("results/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.read(one.key))
    assert_same_records(tmp_path / "copy", local.path)
    assert not [name for name in server.objects if "/leases/" in name]
    assert set(map(server.writes.count, filter(lambda name: "/store/scores/" in name, server.writes))) == {1}
