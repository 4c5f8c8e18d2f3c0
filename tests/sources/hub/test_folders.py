"""A folder is judged by the same rules on disk and on the Hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from milepost.sources import discover
from tests.sources.folders import model, safetensors, sharded
from tests.sources.hub.test_listing import Server

pytestmark = pytest.mark.hub


@pytest.fixture
def server(shared: Path, tmp_path: Path) -> Server:
    one = Server(shared, tmp_path)
    one.models.mkdir()
    return one


def named(pattern: str) -> Callable[[Path], Path]:
    """Two shards under names of this pattern, and the index that lists them."""

    def make(folder: Path) -> Path:
        model(folder)
        (folder / "model.safetensors").unlink()
        shards = [pattern.format(n) for n in (1, 2)]
        for n, shard in enumerate(shards):
            safetensors(folder / shard, name=f"weight{n}")
        index = {"weight_map": {f"weight{n}": shard for n, shard in enumerate(shards)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    return make


def stale(folder: Path) -> Path:
    safetensors(sharded(folder) / "model-00003-of-00003.safetensors", name="old")
    return folder


def without(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (sharded(folder) / name).unlink()
        return folder

    return make


def index_of(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (sharded(folder) / "model.safetensors.index.json").write_text(text)
        return folder

    return make


MADE: dict[str, tuple[Callable[[Path], Path], str | None]] = {
    "usual": (sharded, None),
    "six-digits": (named("model-{:06d}-of-000002.safetensors"), None),
    "qwen": (named("model.safetensors-{:05d}-of-00002.safetensors"), None),
    "pytorch": (named("pytorch_model-{:05d}-of-00002.safetensors"), None),
    "own-names": (named("part{}.safetensors"), None),
    "stale": (stale, None),
    "single": (model, None),
    "no-index": (without("model.safetensors.index.json"), "model.safetensors.index.json is missing"),
    "no-shard": (without("model-00002-of-00002.safetensors"), "missing: model-00002-of-00002.safetensors"),
    "broken-index": (index_of("{"), "model.safetensors.index.json does not parse"),
    "empty-index": (index_of('{"weight_map": {}}'), "model.safetensors.index.json lists no shards"),
    "index-outside": (
        index_of('{"weight_map": {"a": "../x.safetensors"}}'),
        "model.safetensors.index.json points outside the folder: ../x.safetensors",
    ),
}

LOOK = """
for name in json.loads(sys.argv[1]) if len(sys.argv) > 1 else NAMES:
    (one,) = discover(f"hf://own/{name}").checkpoints
    files = []
    if one.problem is None:
        files = sorted(path.name for path in fetch(one, CACHE).glob("*.safetensors"))
        identify(one, CACHE)
    print(json.dumps([name, one.problem, one.format, one.size_bytes, files]))
"""


def test_the_hub_and_the_disk_agree_on_every_way_to_name_shards(server: Server, tmp_path: Path) -> None:
    for name, (make, _) in MADE.items():
        make(server.models / "own" / name / "main")
    try:
        told = server.python(f"NAMES = {list(MADE)}{LOOK}", endpoint=server.start())
        assert told.returncode == 0, told.stderr[-1500:]
        found = {line[0]: line[1:] for line in map(json.loads, told.stdout.splitlines())}
        for name, (_, problem) in MADE.items():
            (local,) = discover(str(server.models / "own" / name / "main")).checkpoints
            assert local.problem == problem, name
            assert found[name][:3] == [local.problem, local.format, local.size_bytes], name
        assert found["stale"][3] == sorted(f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
        offline = server.python(
            f"NAMES = ['qwen', 'stale', 'own-names']{LOOK}", endpoint="http://127.0.0.1:9", HF_HUB_OFFLINE="1"
        )
        for line in map(json.loads, offline.stdout.splitlines()):
            assert line[1:] == found[line[0]], offline.stderr
        assert len(offline.stdout.splitlines()) == 3, offline.stderr
    finally:
        server.stop()


def test_an_index_that_is_longer_than_any_is_not_read(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    os.truncate(folder / "model.safetensors.index.json", 1 << 26)
    (one,) = discover(str(folder)).checkpoints
    assert "model.safetensors.index.json cannot be read: it is longer than 33554432 bytes" in str(one.problem)


def test_a_named_pipe_in_place_of_a_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors"):
        folder = sharded(tmp_path / name)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        (one,) = discover(str(folder)).checkpoints
        assert f"{name} is a named pipe, not a file" in str(one.problem)
    shutil.rmtree(tmp_path / name)
