"""Every command on a results folder in a bucket, and what a person may get wrong with buckets."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.buckets.server import S3Server
from tests.cli.called import Called, milepost, refusal
from tests.run.own_tasks import write_tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def results(s3: S3Server, local: Path) -> str:
    """The local results in a bucket of the session, which tests only read."""
    address = f"s3://read-by-all/{local.parent.name}/results"
    if not s3.has_bucket("read-by-all"):
        s3.make_bucket("read-by-all")
        s3.upload(local, address)
    return address


@pytest.fixture(scope="module")
def local(tiny_run: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the tiny run on the disk, to compare with."""
    folder = tmp_path_factory.mktemp("results") / "results"
    assert _run(tiny_run, tasks, folder).status == 0
    return folder


def _run(source: object, tasks: Path, output: object, *more: object) -> Called:
    return milepost(
        "run", source, "-t", "where,prose", "--include-path", tasks, "-o", output, "--json", *more
    )


def test_a_run_into_a_bucket_gives_the_numbers_of_a_run_onto_the_disk(
    s3: S3Server, bucket: str, tiny_run: Path, tasks: Path, local: Path
) -> None:
    done = _run(tiny_run, tasks, f"{bucket}/results")
    assert done.status == 0, done.err
    assert f"results in {bucket}/results" in done.err
    assert json.loads(done.out) == json.loads(milepost("show", local, "--json").out)
    assert set(s3.writes("/store/scores/").values()) == {1}
    s3.door.requests.clear()
    again = _run(tiny_run, tasks, f"{bucket}/results")
    assert "3 already scored" in again.err
    assert s3.writes("/store/scores/") == {}


@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["show", "--summary", "--json"],
        ["show", "--picks"],
        ["show", "--csv"],
        ["questions", "-t", "where"],
        ["signal"],
        ["leaderboard"],
    ],
    ids=" ".join,
)
def test_a_command_prints_the_same_of_a_bucket(command: list[str], results: str, local: Path) -> None:
    name, *options = command
    of_bucket, of_disk = milepost(name, results, *options), milepost(name, local, *options)
    assert of_bucket.status == 0, of_bucket.err
    assert of_bucket.out == of_disk.out


def test_status_and_verify_read_a_bucket(results: str) -> None:
    status = json.loads(milepost("status", results, "--json").out)
    assert status["results"] == results
    assert [series["done"] for series in status["series"]] == [3]
    assert "0 damaged or missing" in milepost("verify", results).out


def test_pictures_comparisons_and_exports_are_made_from_a_bucket(results: str, tmp_path: Path) -> None:
    assert milepost("plot", results, "-o", tmp_path / "curve.svg").status == 0
    compared = milepost(
        "compare", f"{results}@checkpoint-10", f"{results}@checkpoint-30", "-o", tmp_path / "comparison"
    )
    assert compared.status == 0, compared.err
    assert (tmp_path / "comparison" / "comparison_report.html").is_file()
    assert milepost("export", results, "--format", "lm_eval", "-o", tmp_path / "files").status == 0
    assert len(list((tmp_path / "files").rglob("results_*.json"))) == 3
    assert milepost("pack", results, "-o", tmp_path / "handed-in.zip").status == 0
    assert len(zipfile.ZipFile(tmp_path / "handed-in.zip").namelist()) > 20


def test_pictures_are_written_into_a_bucket(results: str, bucket: str, s3: S3Server, tmp_path: Path) -> None:
    assert milepost("plot", results, "-o", f"{bucket}/curve.svg").status == 0
    assert (s3.copy(bucket, tmp_path) / "curve.svg").read_text("utf-8").startswith("<svg")


@pytest.mark.parametrize("command", ["run", "show"])
def test_a_bucket_that_does_not_exist_is_one_line(
    command: str, s3: S3Server, tiny_run: Path, tasks: Path
) -> None:
    place = "s3://no-such-bucket/results"
    called = _run(tiny_run, tasks, place) if command == "run" else milepost("show", place)
    assert "there is no bucket no-such-bucket" in refusal(called)


def test_a_bucket_without_permission_is_one_line(s3: S3Server, tiny_run: Path, tasks: Path) -> None:
    s3.make_bucket("forbidden-to-me")
    assert "permission denied" in refusal(_run(tiny_run, tasks, "s3://forbidden-to-me/results"))
    assert "permission denied" in refusal(milepost("show", "s3://forbidden-to-me/results"))
    s3.make_bucket("read-only-for-me")
    said = refusal(_run(tiny_run, tasks, "s3://read-only-for-me/results"))
    assert "/results cannot be written: permission denied" in said
    assert "list, read, write and delete" in said


def test_missing_credentials_are_one_line(
    s3: S3Server, bucket: str, tiny_run: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    said = refusal(_run(tiny_run, tasks, f"{bucket}/results"))
    assert "there are no credentials for s3://" in said
    assert "AWS_PROFILE" in said


def test_an_endpoint_that_does_not_answer_is_one_line(
    s3: S3Server, tiny_run: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said = refusal(_run(tiny_run, tasks, "s3://bucket/results"))
    assert "http://127.0.0.1:9 does not answer" in said


def test_a_missing_package_is_one_line(tiny_run: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'milepost[remote]'" in refusal(_run(tiny_run, tasks, "s3://bucket/results"))


def test_a_detached_run_says_that_its_log_needs_a_disk(
    bucket: str, s3: S3Server, tiny_run: Path, tasks: Path
) -> None:
    called = milepost(
        "run", tiny_run, "-t", "where", "--include-path", tasks, "-o", f"{bucket}/r", "--detach"
    )
    assert "is in a bucket" in refusal(called)


def test_no_secret_gets_into_records_or_messages(
    s3: S3Server, bucket: str, tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    done = _run(tiny_run / "checkpoint-10", tasks, f"{bucket}/results", "-vv", "-L", "2")
    secret = s3.environment["AWS_SECRET_ACCESS_KEY"]
    written = [path.read_bytes() for path in s3.copy(bucket, tmp_path).rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not any(secret.encode() in data for data in written)
    assert secret not in done.out + done.err
