"""A Ray cluster of two nodes on this machine: the same records, also when a node is killed in the middle."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import milepost
from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.executors import probe, vigil
from milepost.run.executors.ray_cluster import connection, pool
from milepost.run.executors.schedule import Cause
from milepost.run.software_versions import versions
from milepost.store.atomic_files import read_json
from tests.faults.records import leftovers, score_files
from tests.run.executors.same_records import assert_same_records

ray = pytest.importorskip("ray")
Cluster: Any = pytest.importorskip("ray.cluster_utils").Cluster
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


HAS_CLIENT = importlib.util.find_spec("grpc") is not None


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


NODE: dict[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 100 << 20,
    "memory": 8 << 30,
    "include_dashboard": False,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a core each, on the loopback address, and a server of Ray's client."""
    head = NODE | {"num_cpus": 0, "ray_client_server_port": free_port() if HAS_CLIENT else None}
    # On a busy machine Ray's client server needs longer to start than the 30 s that it is given.
    with mock.patch.dict(os.environ, {"RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "180"}):
        made = Cluster(initialize_head=True, head_node_args=head)
    made.nodes_of_workers = [made.add_node(**NODE) for _ in range(2)]
    made.client_address = f"ray://127.0.0.1:{head['ray_client_server_port']}"
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.mark.parametrize("send_records", [False, True], ids=["shared folder", "sent to the driver"])
def test_two_nodes_write_the_records_that_one_process_writes(
    asked: dict[str, Any], alone: Path, tiny_run: Path, tmp_path: Path, cluster: Any, send_records: bool
) -> None:
    results = milepost.evaluate(
        tiny_run,
        **asked,
        output_path=tmp_path / "out",
        executor="ray",
        ray_address=cluster.address,
        workers=2,
        send_records=send_records,
    )
    assert len(results.scored) == 3, results.failures
    assert_same_records(results.path, alone)
    assert leftovers(results.path) == []
    assert (results.path / "checkpoint-10" / "tiny-run" / "evaluation.log").read_text().count(
        "scored in"
    ) >= 1


@contextmanager
def once_some_are_scored(out: Path, do: Callable[[], None]) -> Iterator[None]:
    """Do something from a thread as soon as three shards are stored."""

    def wait() -> None:
        while len(score_files(out)) < 3:
            time.sleep(0.02)
        do()

    waiting = threading.Thread(target=wait)
    waiting.start()
    yield
    waiting.join()


def test_a_node_that_is_killed_in_the_middle_costs_the_shard_under_way(
    asked: dict[str, Any], alone: Path, tiny_run: Path, tmp_path: Path, cluster: Any
) -> None:
    out = tmp_path / "out"
    before: dict[Path, tuple[int, int]] = {}

    def kill_a_node() -> None:
        before.update(score_files(out))
        cluster.remove_node(cluster.nodes_of_workers.pop(), allow_graceful=False)

    try:
        with once_some_are_scored(out, kill_a_node):
            results = milepost.evaluate(
                tiny_run, **asked, output_path=out, executor="ray", ray_address=cluster.address, workers=2
            )
    finally:
        cluster.nodes_of_workers.append(cluster.add_node(**NODE))
    assert len(results.scored) == 3, results.failures
    assert before.items() <= score_files(out).items(), "nothing that was stored is scored again"
    assert_same_records(out, alone)


def test_a_driver_that_is_killed_and_started_again_goes_on(
    asked: dict[str, Any], alone: Path, tiny_run: Path, tmp_path: Path, cluster: Any
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    command = [
        sys.executable, "-m", "milepost", "run", tiny_run, "-t", asked["tasks"], "--include-path",
        asked["include_path"], "--shard-tokens", "60", "-o", out, "--executor", "ray", "--workers", "2",
        "--ray-address", cluster.address,
    ]  # fmt: skip
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as driver:
        while len(score_files(out)) < 3 and driver.poll() is None:
            time.sleep(0.02)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL, log.read_text()
    before = score_files(out)
    results = milepost.evaluate(
        tiny_run, **asked, output_path=out, executor="ray", ray_address=cluster.address, workers=2
    )
    assert len(results.scored) + len(results.reused) == 3, results.failures
    assert before.items() <= score_files(out).items(), "nothing that was stored is scored again"
    assert_same_records(out, alone)
    assert leftovers(out) == []


def test_an_actor_that_hangs_is_killed_on_its_node_and_replaced(
    asked: dict[str, Any],
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(pool, "POLL_S", 1.0)
    monkeypatch.setattr(vigil, "SILENCE_S", 6.0)
    stopped: list[int] = []

    def stop_an_actor() -> None:
        pids = {read_json(path)["pid"] for path in (out / "store" / "workers").glob("*.json")}
        stopped.append(max(pids - {os.getpid()}))
        os.kill(stopped[0], signal.SIGSTOP)

    with once_some_are_scored(out, stop_an_actor):
        results = milepost.evaluate(
            tiny_run, **asked, output_path=out, executor="ray", ray_address=cluster.address, workers=2
        )
    assert len(results.scored) == 3, results.failures
    assert_same_records(out, alone)
    said = capsys.readouterr().err
    assert said.count("takes its place") == 1
    assert re.search(r"it gave no sign of life for \d+ s, and was killed", said)
    with pytest.raises(ProcessLookupError):
        os.kill(stopped[0], 0)


@pytest.mark.skipif(not HAS_CLIENT, reason="needs ray[client]")
def test_a_driver_outside_of_the_cluster_reaches_it_by_an_address_of_ray_client(
    asked: dict[str, Any], alone: Path, tiny_run: Path, tmp_path: Path, cluster: Any
) -> None:
    results = milepost.evaluate(
        tiny_run, **asked, output_path=tmp_path / "out", executor="ray", workers=2, send_records=True,
        ray_address=cluster.client_address,
    )  # fmt: skip
    assert len(results.scored) == 3, results.failures
    assert_same_records(results.path, alone)


def test_another_version_of_ray_or_of_milepost_is_named_before_any_work(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {**asked, "executor": "ray", "ray_address": cluster.address}
    with monkeypatch.context() as other:
        other.setattr("ray._private.utils.compute_version_info", lambda: ("1.2.3", "3.9.1"))
        with pytest.raises(MilepostError, match=r"other versions than this process: .*1\.2\.3") as caught:
            milepost.evaluate(tiny_run, output_path=tmp_path / "ray", **options)
        assert (caught.value.exit_code, caught.value.hint) == (
            2,
            "install the same Ray and Python on every host",
        )
    with monkeypatch.context() as other:
        other.setattr(probe, "versions", lambda: {**versions(), "milepost": "0.0.1"})
        with pytest.raises(MilepostError, match=r"has other software: milepost 0\.0\.1 here and"):
            milepost.evaluate(tiny_run, output_path=tmp_path / "milepost", **options)
    assert not (tmp_path / "ray").exists()
    assert score_files(tmp_path / "milepost") == {}


def test_a_ray_of_the_run_alone_says_what_it_opens(
    asked: dict[str, Any],
    alone: Path,
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = milepost.evaluate(
        tiny_run, **asked, output_path=tmp_path / "out", executor="ray", ray_local=True
    )
    assert len(results.scored) == 3, results.failures
    assert_same_records(results.path, alone)
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "listens on" in one]
    assert "127.0.0.1:" in line


def test_without_a_cluster_none_is_started(asked: dict[str, Any], tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(MilepostError, match=r"there is no Ray cluster at 127\.0\.0\.1:9") as caught:
        milepost.evaluate(
            tiny_run, **asked, output_path=tmp_path / "out", executor="ray", ray_address="127.0.0.1:9"
        )
    assert caught.value.exit_code == 2
    assert not ray.is_initialized()
    assert not (tmp_path / "out").exists()


def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ray, "init", mock.Mock(side_effect=Exception("The current node timed out\nat startup"))
    )
    config = EvalConfig.from_options("run", "where", output_path="out", executor="ray", ray_local=True)
    with (
        pytest.raises(
            MilepostError, match="did not start on this machine: The current node timed out at startup"
        ) as caught,
        connection.connected(config),
    ):
        raise AssertionError("the block does not run")
    assert (caught.value.exit_code, "session_latest" in (caught.value.hint or "")) == (2, True)


def refusal(reason: str) -> ConnectionAbortedError:
    """Return what Ray's client raises: the proxy's traceback, of which the last line has the reason."""
    frame = f'  File "/opt/{"deep/" * 60}ray/util/client/server/proxier.py", line 772, in Datapath'
    return ConnectionAbortedError(
        f"Initialization failure from server:\nTraceback (most recent call last):\n{frame}\n"
        f"    raise RuntimeError(\nRuntimeError: {reason}\n"
    )


def client_config() -> EvalConfig:
    return EvalConfig.from_options(
        "run", "where", output_path="out", executor="ray", ray_address="ray://head:10001"
    )


@pytest.mark.parametrize(
    "reason",
    ["Starting Ray client server failed. See x.err.", "Proxy failed to Connect to backend! Check x.err"],
)
def test_a_busy_head_node_that_starts_no_server_for_the_client_is_asked_again(
    reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray, "init", mock.Mock(side_effect=[refusal(reason), refusal(reason), None]))
    with connection.connected(client_config()):
        pass
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert all(line.endswith(f"server: RuntimeError: {reason}") for line in said)


def test_what_the_head_node_says_at_last_is_in_the_message_however_long_its_paths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = mock.Mock(side_effect=refusal("Starting Ray client server failed. See x.err."))
    monkeypatch.setattr(ray, "init", failing)
    with (
        pytest.raises(MilepostError, match=r"Starting Ray client server failed\. See x\.err\.$") as caught,
        connection.connected(client_config()),
    ):
        raise AssertionError("the block does not run")
    assert failing.call_count == connection.CONNECT_TRIES
    assert "Traceback" not in caught.value.message


def test_an_actor_that_raised_is_told_by_its_last_line_however_long_its_paths() -> None:
    actor = "\x1b[36mray::Actor.__init__()\x1b[39m (pid=7, ip=10.0.0.1)"
    frames = "".join(f'  File "/opt/{"deep/" * 60}{n}.py", line {n}, in f\n    f()\n' for n in range(3))
    text = f"The actor died because of an error raised in its creation, {actor}\n{frames}ValueError: gone"
    died = pool.death(RuntimeError(text))
    assert died.cause is Cause.ITSELF
    assert died.how.endswith("ray::Actor.__init__() (pid=7, ip=10.0.0.1) ValueError: gone")
    assert "\\x1b" not in died.how
    with pytest.raises(MilepostError, match=r"cannot import milepost: .*No module named 'milepost'$"):
        pool.death(RuntimeError(text.replace("ValueError: gone", "ImportError: No module named 'milepost'")))


def test_another_refusal_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = mock.Mock(side_effect=refusal("the password is wrong"))
    monkeypatch.setattr(ray, "init", failing)
    with (
        pytest.raises(MilepostError, match="the password is wrong"),
        connection.connected(client_config()),
    ):
        raise AssertionError("the block does not run")
    assert failing.call_count == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ConnectionError("Could not find any running Ray instance. Please set `--address`."),
            "no Ray cluster runs on this machine, and RAY_ADDRESS names none",
        ),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "there is no Ray cluster at auto: Connection refused",
        ),
    ],
)
def test_what_ray_says_is_one_line_without_the_options_of_its_own_command(
    error: Exception, message: str
) -> None:
    found = connection._no_cluster("auto", error)
    assert (found.message, found.exit_code) == (message, 2)
    assert "--ray-address" in (found.hint or "")


def test_an_address_of_ray_client_needs_the_client(
    asked: dict[str, Any], tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    for name in [name for name in sys.modules if name.startswith("ray.util.client.")]:
        monkeypatch.delitem(sys.modules, name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"ray://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(MilepostError, match="needs Ray's client") as caught:
            milepost.evaluate(
                tiny_run, **asked, output_path=tmp_path / "out", executor="ray", ray_address=address
            )
    assert (caught.value.exit_code, caught.value.hint) == (2, "pip install 'milepost[ray]'")
    assert not (tmp_path / "out").exists()
