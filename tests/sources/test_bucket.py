"""Training runs in a bucket of a real S3 server: found, downloaded, compared, identified."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from milepost.buckets import Bucket, BucketPath, as_path, bucket_of
from milepost.errors import BucketError, CheckpointError, SourceError
from milepost.files.cache import cache_folder
from milepost.network.downloads import Transfer
from milepost.sources import discover, discover_all, fetch, identify, is_fetched, tokenizer_location
from milepost.sources.bucket import listing
from milepost.types.checkpoints import Checkpoint
from milepost.watching.readiness import take_snapshot
from tests.buckets.server import S3Server


@pytest.fixture
def run(s3: S3Server, bucket: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny run in a bucket, and an empty cache."""
    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path / "cache"))
    return s3.upload(tiny_run, f"{bucket}/runs/tiny-run")


def _first(run: str) -> Checkpoint:
    return discover(run).checkpoints[0]


def test_a_run_in_a_bucket_is_listed_as_on_the_disk(run: str, tiny_run: Path) -> None:
    there, here = discover(run), discover(str(tiny_run))
    assert there.name == here.name
    assert there.root == run
    assert [(one.name, one.step, one.format, one.size_bytes) for one in there.checkpoints] == [
        (one.name, one.step, one.format, one.size_bytes) for one in here.checkpoints
    ]
    assert [one.source for one in there.checkpoints] == [f"{run}/checkpoint-{step}" for step in (10, 20, 30)]


def test_one_checkpoint_and_patterns_of_one_run_are_its_series(run: str) -> None:
    one = discover(f"{run}/checkpoint-20/")
    assert (one.root, one.checkpoints[0].step) == (run, 20)
    some = discover(f"{run}/checkpoint-[12]0")
    assert (some.root, [one.step for one in some.checkpoints]) == (run, [10, 20])
    runs = discover_all([run.replace("tiny-run", "*/checkpoint-3*")])
    assert [(series.root, len(series.checkpoints)) for series in runs] == [(run, 1)]


def test_what_lacks_a_file_is_listed_with_its_problem(
    s3: S3Server, bucket: str, run: str, tiny_run: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "checkpoint-40"
    shutil.copytree(tiny_run / "checkpoint-10", broken)
    (broken / "config.json").unlink()
    s3.upload(broken, f"{run}/checkpoint-40")
    problem = discover(run).checkpoints[-1].problem
    assert problem is not None
    assert "config.json is missing" in problem


def test_the_config_and_tokenizer_of_the_folder_above_serve_all(
    s3: S3Server, bucket: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILEPOST_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".safetensors":
            shutil.move(path, folder / path.name)
    run = s3.upload(folder, f"{bucket}/run")
    for checkpoint in (_first(run), _first(f"{run}/checkpoint-10")):
        assert checkpoint.problem is None
        assert (tokenizer_location(checkpoint) / "tokenizer.json").is_file()
        assert identify(checkpoint, cache_folder()) == identify(
            discover(str(folder)).checkpoints[0], cache_folder()
        )


def test_the_same_weights_have_the_same_identity(run: str, tiny_run: Path, s3: S3Server) -> None:
    checkpoint = _first(run)
    assert not is_fetched(checkpoint)
    there = identify(checkpoint, cache_folder())
    assert there == identify(discover(str(tiny_run)).checkpoints[0], cache_folder())
    assert is_fetched(checkpoint)
    s3.door.requests.clear()
    shutil.rmtree(cache_folder() / "buckets")
    assert identify(_first(run), cache_folder()) == there
    assert not any("safetensors" in path for _, path in s3.door.requests)  # known by its version


def test_only_what_is_needed_is_downloaded(s3: S3Server, run: str, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "optimizer.pt").write_bytes(b"state")
    s3.upload(tmp_path / "more", f"{run}/checkpoint-10")
    folder = fetch(_first(run))
    assert (folder / "model.safetensors").read_bytes() == (
        tiny_run / "checkpoint-10" / "model.safetensors"
    ).read_bytes()
    assert not (folder / "optimizer.pt").exists()


def test_a_download_goes_on_where_it_was_cut_off(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.sources.bucket.download.PART_BYTES", 100_000)
    checkpoint, whole = _first(run), Bucket.read
    read: list[tuple[int | None, bool]] = []

    def fails_later(self: Bucket, key: str, start: int | None = None, end: int | None = None) -> bytes:
        fails = key.endswith(".safetensors") and len(read) == 2
        if key.endswith(".safetensors"):
            read.append((start, fails))
        if fails:
            raise BucketError("the store does not answer")
        return whole(self, key, start, end)

    monkeypatch.setattr(Bucket, "read", fails_later)
    with pytest.raises(CheckpointError, match="does not answer"):
        fetch(checkpoint)
    arrived: list[tuple[int, int | None]] = []
    count = Transfer.add

    def noted(self: Transfer, n_bytes: int) -> None:
        count(self, n_bytes)
        arrived.append((self.n_bytes, self.total_bytes))

    monkeypatch.setattr(Transfer, "add", noted)
    fetch(checkpoint)
    assert arrived[-1][0] == arrived[-1][1], "all is counted, also what an earlier attempt has"
    assert read == [(0, False), (100_000, False), (200_000, True), (200_000, False), (300_000, False)]


@pytest.mark.parametrize("in_parts", [False, True])
def test_damage_on_the_way_is_found(
    run: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch, in_parts: bool
) -> None:
    if in_parts:
        client = bucket_of(run.rpartition("/runs")[0])
        key = "runs/tiny-run/checkpoint-10/model.safetensors"
        data = client.read(key) + bytes(12 * 2**20)
        client._files.pipe_file(client._path(key), data, chunksize=5 * 2**20)
    whole = Bucket.read

    def flips(self: Bucket, key: str, start: int | None = None, end: int | None = None) -> bytes:
        data = whole(self, key, start, end)
        return bytes([data[0] ^ 1]) + data[1:] if key.endswith(".safetensors") and data else data

    monkeypatch.setattr(Bucket, "read", flips)
    with pytest.raises(CheckpointError, match="is damaged: its MD5"):
        fetch(_first(run))
    monkeypatch.setattr(Bucket, "read", whole)
    assert fetch(_first(run)).is_dir()


def test_a_checkpoint_that_changes_after_the_list_is_refused(s3: S3Server, run: str, tiny_run: Path) -> None:
    checkpoint = _first(run)
    before = take_snapshot(checkpoint)
    assert take_snapshot(checkpoint) == before
    s3.upload(tiny_run / "checkpoint-20", f"{run}/checkpoint-10")
    assert take_snapshot(checkpoint) != before
    with pytest.raises(CheckpointError, match="overwritten while it was downloaded"):
        fetch(checkpoint)
    listing._listed.clear()  # as in another process
    with pytest.raises(CheckpointError, match="has changed since it was listed"):
        fetch(checkpoint)
    assert (
        identify(_first(run), cache_folder()).model_id
        == identify(discover(str(tiny_run)).checkpoints[1], cache_folder()).model_id
    )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/nothing", "there is nothing at"),
        ("/runs/x*", "matches no checkpoint"),
        ("-else", "there is no bucket"),
    ],
)
def test_an_address_without_checkpoints_is_refused(run: str, bucket: str, address: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as refusal:
        discover(bucket + address)
    assert refusal.value.hint


def test_a_folder_without_checkpoints_is_refused(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none here")
    with pytest.raises(SourceError, match="there is no checkpoint in"):
        discover(s3.upload(tmp_path, f"{bucket}/notes"))


def test_keys_that_leave_their_folder_are_passed_over(s3: S3Server, bucket: str, run: str) -> None:
    bucket_of(bucket).write("runs/tiny-run/checkpoint-10/../../../evil.json", b"{}")
    folder = as_path(run)
    assert isinstance(folder, BucketPath)
    assert all(".." not in name for name in listing.objects_below(folder))
