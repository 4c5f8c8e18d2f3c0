"""Checkpoints from a Hub on a bad line, from a damaged cache, from a hostile mirror."""

from __future__ import annotations

import email.utils
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import milepost
from milepost.errors import CheckpointError, SourceError
from milepost.sources.hub import requests as hub_requests
from tests.faults.bad_line import BadLine, Fault
from tests.run.own_tasks import write_tasks
from tests.sources.folders import model, sharded

pytestmark = [pytest.mark.hub, pytest.mark.slow]
TOKEN = "hf_" + "Secret0Token" * 3
STEPS = (10, 20, 30)
FAST = """
import time
sleep = time.sleep
time.sleep = lambda s: sleep(min(s, 0.02))
"""
"""Waiting is not what these processes are for."""


class Hub:
    """The offline hub with repositories of our own, and processes that use it with a cache of their own."""

    def __init__(self, shared: Path, folder: Path) -> None:
        self.models = folder / "models"
        self.home = folder / "home"
        self._serve = [sys.executable, str(shared / "hub" / "serve.py"), "--root", str(shared / "hub")]
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *faults: str) -> str:
        command = [*self._serve, "--port", "0", "--models", str(self.models), *faults]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._running.append(server)
        assert server.stdout is not None
        return server.stdout.readline().strip()

    def stop(self) -> None:
        for server in self._running:
            server.terminate()
            server.wait()

    def python(self, code: str, endpoint: str, *arguments: object, **environment: str) -> Ended:
        own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(self.home), "MILEPOST_CACHE": str(self.home / "own")}
        return subprocess.run(
            [sys.executable, "-c", FAST + code, *map(str, arguments)],
            env=os.environ | own | environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def blob(self, name: str) -> Path:
        (link,) = self.home.glob(f"hub/models--own--run/snapshots/*/{name}")
        return link.resolve()


Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def hub_of_ours(shared: Path, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(shared, tmp_path)
    yield hub
    hub.stop()


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 0xFF]) + content[-8:]


# ---- the whole way: from a bad line to figures --------------------------------------------------------


def test_a_run_over_a_bad_line_has_the_numbers_of_a_good_one_and_tells_no_secret(
    hub_of_ours: Hub, tiny_run: Path, tmp_path: Path
) -> None:
    for step in STEPS:
        shutil.copytree(
            tiny_run / f"checkpoint-{step}", hub_of_ours.models / "own" / "run" / f"checkpoint-{step}"
        )
    tasks = write_tasks(tmp_path / "tasks")
    here = milepost.evaluate(tiny_run, "where", include_path=tasks, output_path=tmp_path / "here")
    endpoint = hub_of_ours.start("--truncate", "*.safetensors:90000:1", "--status", "503:5:*/resolve/*")
    arguments = ["run", "hf://own/run@checkpoint-*", "-t", "where", "--include-path", tasks, "-vv"]
    code = "from milepost.cli.main import main\nmain()\n"
    with BadLine(
        endpoint,
        Fault("*/tree/*", status=429, headers={"Retry-After": "1"}),
        Fault("*/model.safetensors", change=flipped, times=0),
    ) as line:
        line.faults[1].times = 1
        ended = hub_of_ours.python(
            code,
            line.url.replace("//", "//someone:pass3word@"),
            *arguments,
            "-o",
            tmp_path / "there",
            HF_TOKEN=TOKEN,
        )
    assert ended.returncode == 0, ended.stderr
    there = milepost.Results.open(tmp_path / "there")
    assert [(row.checkpoint, row.metric, row.value) for row in there.rows()] == [
        (row.checkpoint, row.metric, row.value) for row in here.rows()
    ]
    by_path = [passed.path for passed in line.passed if passed.path.endswith(".safetensors")]
    assert len(set(by_path)) == len(STEPS)
    assert len(by_path) <= len(STEPS) + 1  # the damaged one came twice
    kept = [path.read_bytes() for path in (tmp_path / "there").rglob("*") if path.is_file()]
    kept += [path.read_bytes() for path in (hub_of_ours.home / "own").rglob("*") if path.is_file()]
    for secret in (TOKEN, "pass3word"):
        assert secret not in ended.stdout + ended.stderr
        assert not any(secret.encode() in content for content in kept)


# ---- one damaged file costs one file -------------------------------------------------------------------

FETCH = """
import logging, sys
from pathlib import Path
from milepost.errors import MilepostError
from milepost.sources import discover, fetch
logging.basicConfig(level=logging.WARNING, format="%(message)s")
source, sums, *modes = sys.argv[1:]
for mode in modes:
    try:
        (one,) = discover(source).checkpoints
        print(fetch(one, Path(sums), repair=mode == "repair"))
    except MilepostError as error:
        print(type(error).__name__, error.message, "| hint:", error.hint)
"""
SHARD = "model-00002-of-00002.safetensors"
ALL = ["config.json", "model-00001-of-00002.safetensors", SHARD, "model.safetensors.index.json"]

DAMAGES: dict[str, Callable[[Path], object]] = {
    SHARD: lambda blob: blob.write_bytes(flipped(blob.read_bytes())),
    ALL[1]: lambda blob: blob.write_bytes(blob.read_bytes()[:-1]),
    "config.json": lambda blob: blob.write_bytes(blob.read_bytes().replace(b"4", b"5")),
    ALL[3]: lambda blob: blob.unlink(),
}


def test_what_is_damaged_in_the_cache_is_fetched_again_and_nothing_else(
    hub_of_ours: Hub, tmp_path: Path
) -> None:
    sharded(hub_of_ours.models / "own" / "run" / "main")
    with BadLine(hub_of_ours.start()) as line:

        def fetch(*modes: str, source: str = "hf://own/run", **environment: str) -> list[str]:
            line.passed.clear()
            line.requests.clear()
            ended = hub_of_ours.python(FETCH, line.url, source, tmp_path / "sums", *modes, **environment)
            return ended.stdout.splitlines()

        snapshot = Path(fetch("repair")[0])
        assert line.downloads() == ALL
        for name, damage in DAMAGES.items():
            blob = hub_of_ours.blob(name)
            whole = blob.read_bytes()
            damage(blob)
            refused, mended = fetch("refuse", "repair")
            if name != ALL[3]:  # what is missing is no damage
                assert refused.startswith("CheckpointError hf://own/run@main: ")
                assert name in refused
                assert "--repair" in refused
            assert mended == str(snapshot)
            assert line.downloads() == [name]
            assert blob.read_bytes() == whole

        assert fetch("repair", HF_HUB_OFFLINE="1") == [str(snapshot)]
        assert line.requests == []
        assert fetch("repair", source=f"hf://own/run@{snapshot.name}") == [str(snapshot)]
        assert line.requests == []
        DAMAGES[SHARD](hub_of_ours.blob(SHARD))
        (offline,) = fetch("repair", HF_HUB_OFFLINE="1")
        assert SHARD in offline
        assert "unset HF_HUB_OFFLINE" in offline


# ---- patience -------------------------------------------------------------------------------------------


class Busy(Exception):
    """As huggingface_hub tells of an answer that is no success."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"{status} from https://someone:pass3word@host/x with {TOKEN}")
        self.response = SimpleNamespace(
            status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(
        hub_requests, "time", SimpleNamespace(sleep=lambda s: waited.append(s), time=lambda: 1000.0)
    )
    monkeypatch.setattr(hub_requests, "transport_errors", lambda: (Busy, ConnectionError, TimeoutError))
    return waited


def answering(*failures: Exception) -> Callable[[], str]:
    left = list(failures)

    def request() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return request


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (email.utils.formatdate(1042, usegmt=True), 42.0),
        (email.utils.formatdate(10, usegmt=True), 0.0),
        ("999999", 600.0),
        ("soon", 0.5),
        ("", 0.5),
    ],
)
def test_a_hub_is_asked_again_when_it_says_so(pauses: list[float], retry_after: str, waited: float) -> None:
    assert hub_requests.ask_hub(answering(Busy(429, Retry_After=retry_after)), what="x") == "answer"
    assert pauses == [waited]


def test_a_busy_hub_is_asked_with_growing_pauses_and_a_silent_one_not_so_long(pauses: list[float]) -> None:
    assert hub_requests.ask_hub(answering(*[Busy(503)] * 5), what="x") == "answer"
    assert pauses == sorted(pauses)
    assert len(pauses) == 5
    pauses.clear()
    with pytest.raises(SourceError, match="cannot be fetched"):
        hub_requests.ask_hub(answering(*[TimeoutError("no answer")] * 50), what="x")
    assert sum(pauses) < 5


@pytest.mark.parametrize("failure", [Busy(403), OSError(28, "No space left on device"), OSError("cut")])
def test_what_waiting_does_not_mend_is_told_at_once_and_without_secrets(
    pauses: list[float], failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(CheckpointError) as refusal:
        hub_requests.ask_hub(answering(*[failure] * 9), what="hf://a/b\x1b[31m", error=CheckpointError)
    assert len(pauses) == (3 if failure.args == ("cut",) else 0)
    assert "\x1b" not in refusal.value.message
    assert not re.search(f"pass3word|{TOKEN}", f"{refusal.value.message} {refusal.value.hint}")


# ---- hostile mirrors -------------------------------------------------------------------------------------


def instead(**changes: object) -> Callable[[bytes], bytes]:
    """An answer in which an entry of each of a listing's items is another."""

    def change(body: bytes) -> bytes:
        told = json.loads(body)
        items = told["branches"] if "branches" in told else told if isinstance(told, list) else [told]
        for item in items:
            item.update(changes)
        return json.dumps(told).encode()

    return change


UP = "../../../../outside"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("*/tree/*", 9, change=instead(path=f"{UP}/model.safetensors")),
        Fault("*/tree/*", 9, change=instead(path="/tmp/model.safetensors")),
        Fault("*/tree/*", 9, change=instead(path="a\\..\\..\\model.safetensors")),
        Fault("*/refs", 9, change=instead(name=f"step-1/{UP}")),
        Fault("*/refs", 9, change=instead(targetCommit=UP)),
        Fault("*/revision/*", 9, change=instead(sha=UP)),
    ],
    ids=lambda fault: f"{fault.pattern}",
)
def test_a_listing_that_leads_out_of_the_cache_is_refused(
    hub_of_ours: Hub, tmp_path: Path, fault: Fault
) -> None:
    model(hub_of_ours.models / "own" / "run" / "step-1")
    source = "hf://own/run@step-1" if "revision" in fault.pattern else "hf://own/run@step-*"
    with BadLine(hub_of_ours.start(), fault) as line:
        told = hub_of_ours.python(FETCH, line.url, source, tmp_path / "sums", "repair")
    assert told.stdout.startswith("SourceError"), told
    assert "this mirror is not to be trusted" in told.stdout
    assert not list(tmp_path.rglob("outside*"))
    assert line.downloads() == []
