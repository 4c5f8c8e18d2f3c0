"""Passwords, keys and tokens are in nothing that is written or said."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest

from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.display.journal import Journal
from milepost.run.records import note_failure
from milepost.store import ResultsFolder
from milepost.store.atomic_files import write_json
from milepost.store.records import RunRecord
from milepost.store.tables import write_table
from milepost.text.credentials import redacted, remember, without_secrets

URL = "http://alice:S3CRETpass@127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    "text",
    [
        f"milepost run m --base-url {URL} -t arc",
        "https://S3CRETpass@host/v1",
        "http://alice:S3CRETpass@host",
        "http://a:S3CRET!$pass@h",
        "https://host/v1?api_key=S3CRETpass&x=1",
        "https://host/v1?x=1&token=S3CRETpass",
        '{"api_key": "S3CRETpass"}',
        """--metadata '{"password": "S3CRETpass"}'""",
        "Authorization: Bearer S3CRETpass1234",
        "key sk-S3CRET" + "x" * 20,
        "hf_S3CRET" + "x" * 30,
    ],
)
def test_a_secret_is_known_by_its_place_and_form(text: str) -> None:
    assert "S3CRET" not in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "hf://org/name@step-100/sub",
        "hf://gpt2@main",
        "http://127.0.0.1:8000/v1",
        "/data/runs/my-run/checkpoint-1",
        "https://host/a?b=c",
        "the token ids of tokenizer x",
        "a@b.c said: mind the key",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_a_password_with_any_characters_is_remembered_from_the_command() -> None:
    remember("http://bob:S3/CR@ET%21@host/v1")
    for spelled in ("S3/CR@ET%21", "S3/CR@ET!", "http://bob:S3/CR@ET%21@host/v1"):
        assert "S3" not in without_secrets(f"cannot reach {spelled}: no")


def test_no_address_of_the_hub_and_no_path_is_taken_for_a_password() -> None:
    for address in ("hf://org/name@step-*", "runs/a@b", "http://host:8000/v1/@x", "http://host/v1/@x"):
        remember(address)
        assert without_secrets(f"{address} and org/name") == f"{address} and org/name"


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milepost.text.credentials._remembered", set())
    monkeypatch.setattr("milepost.text.credentials._remembered_parameters", set())


@pytest.mark.parametrize(
    "address",
    [
        "http://host/v1?code=S3CRETpass",
        "http://host/v1?version=1&k=S3CRET%2Fpass",
        "http://host/v1#S3CRETpass1",
        "bob:S3CRETpass@host/v1",
        "ftp://bob:S3CRETpass@host/v1",
        "hf://bob:S3CRETpass@org/name@step-1",
    ],
)
@pytest.mark.usefixtures("forgotten")
def test_a_secret_anywhere_in_the_address_of_a_server_is_remembered(address: str) -> None:
    remember(address)
    assert "S3CRET" not in without_secrets(f"{address} said: {address.partition('?')[2]}")


@pytest.mark.parametrize(
    "address", ["hf://gpt2@main", "hf://org/name@step-100/sub", "runs/a@b", "hf://org/name@v1?x", "gpt2@main"]
)
@pytest.mark.usefixtures("forgotten")
def test_a_revision_makes_no_secret_of_the_repository_s_name(address: str) -> None:
    remember(address)
    said = f"{address}: a gpt2 of org/name, runs/a"
    assert without_secrets(said) == said


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "HTTPS_PROXY", "all_proxy"])
@pytest.mark.usefixtures("forgotten")
def test_a_password_in_an_address_of_the_environment_is_known(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "bob:S3CRETpass@proxy:3128")
    assert "S3CRET" not in without_secrets("no proxy at bob:S3CRETpass@proxy:3128; S3CRETpass")


def test_a_key_of_the_environment_is_known_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "abc-123-def-456")
    monkeypatch.setenv("MY_TOKEN", "42ABCDEF99")
    monkeypatch.setenv("SORT_KEY", "accuracy")
    assert without_secrets("x abc-123-def-456 y 42ABCDEF99 accuracy") == "x *** y *** accuracy"
    assert redacted({"a": ["abc-123-def-456", 1], "api_key": "short"}) == {"a": ["***", 1], "api_key": "***"}


def files_with(folder: Path, secret: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_nothing_that_is_written_holds_the_password(tmp_path: Path) -> None:
    results = ResultsFolder.create(tmp_path / "results")
    config = EvalConfig.from_options("m", "arc", engine="openai", base_url=URL, output_path=results.path)
    assert "S3CRET" not in config.command_line()
    results.write_run(RunRecord(command=f"x {URL}", config=config.to_json(), plan_id="p", series=()))
    write_json(results.checkpoint_path("run", "one"), {"series": "run", "device": URL})
    write_table(
        results.docs_path("d"), pa.table({"a": [1]}), {"device": URL, "headers": {"password": "S3CRET"}}
    )
    path = results.log_folder("run", "one") / "evaluation.log"
    with Journal() as journal, journal.evaluation_log(path) as log:
        log.info("device %s", URL)
        try:
            raise ValueError(f"no answer from {URL}")
        except ValueError:
            log.exception("it failed")
            logging.getLogger("httpx").warning("GET %s", URL)
    assert "it failed" in path.read_text()
    assert files_with(results.path, "S3CRET") == []
    assert note_failure.__module__ == "milepost.run.records"


def test_no_message_holds_the_password() -> None:
    error = MilepostError(f"nobody at {URL}", f"correct {URL}")
    assert "S3CRET" not in json.dumps([str(error), error.message, error.hint])


def test_a_key_in_the_path_of_a_mirrors_address_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/huggingface-mirror/S3CRET9f8e7d6c/hub")
    told = without_secrets("cannot reach https://mirror.example/huggingface-mirror/S3CRET9f8e7d6c/hub/api")
    assert told == "cannot reach https://mirror.example/huggingface-mirror/***/hub/api"
