"""A worker on another host is checked before it gets work: its software, and whether it sees the results."""

from __future__ import annotations

import platform
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from milepost.errors import MilepostError
from milepost.run.executors.messages import Joined
from milepost.run.executors.probe import PROBE, check_joined, probe_file
from milepost.run.executors.ray_cluster.listening_ports import listening_ports
from milepost.run.software_versions import versions
from milepost.store import ResultsFolder

SAME = tuple(sorted({**versions(), "python": platform.python_version()}.items()))
WORKER = Joined("node-7", 1, 0.0, SAME)


def with_version(name: str, version: str) -> Joined:
    return replace(WORKER, versions=tuple((n, version if n == name else v) for n, v in SAME))


def test_the_probe_file_is_there_while_the_run_is(tmp_path: Path) -> None:
    results = ResultsFolder.create(tmp_path / "out")
    with probe_file(results) as token:
        assert (results.path / PROBE).read_text() == token
    assert not (results.path / PROBE).exists()


def test_a_worker_with_the_same_software_that_sees_the_results_may_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_joined(WORKER)
    assert caplog.records == []


@pytest.mark.parametrize(("name", "version"), [("milepost", "0.0.1"), ("python", "3.9.1")])
def test_another_version_is_named_with_its_host(name: str, version: str) -> None:
    with pytest.raises(MilepostError, match=f"node-7 has other software: {name} .* here and {version} there"):
        check_joined(with_version(name, version))


def test_another_torch_is_told_and_not_refused(caplog: pytest.LogCaptureFixture) -> None:
    check_joined(with_version("torch", "1.0"))
    assert "may change scores by rounding" in caplog.text


def test_results_that_a_worker_does_not_see_are_said() -> None:
    with pytest.raises(MilepostError, match="node-7 does not see the results folder") as caught:
        check_joined(replace(WORKER, sees_results=False))
    assert "--send-records" in (caught.value.hint or "")


def test_the_ports_of_this_process_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"127.0.0.1:{port}" in listening_ports()
    assert f"127.0.0.1:{port}" not in listening_ports()
