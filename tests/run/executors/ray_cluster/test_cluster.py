"""A Ray cluster of two nodes on this machine: the same records, also when a node is killed in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import milepost
from milepost.errors import MilepostError
from tests.faults.records import leftovers, score_files
from tests.run.executors.same_records import assert_same_records
from tests.run.own_tasks import write_tasks

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    return {"tasks": "where,who,prose", "include_path": tasks, "shard_tokens": 60}


@pytest.fixture(scope="module")
def alone(asked: dict[str, Any], tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process."""
    return milepost.evaluate(tiny_run, **asked, output_path=tmp_path_factory.mktemp("alone") / "out").path


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes with a core each, on the loopback address."""
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {
        "num_cpus": 1,
        "object_store_memory": 100 << 20,
        "memory": 8 << 30,
        "include_dashboard": False,
    }
    made = Cluster(initialize_head=True, head_node_args=node | {"num_cpus": 0})
    made.nodes_of_workers = [made.add_node(**node) for _ in range(2)]
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


def test_a_node_that_is_killed_in_the_middle_costs_the_shard_under_way(
    asked: dict[str, Any], alone: Path, tiny_run: Path, tmp_path: Path, cluster: Any
) -> None:
    out = tmp_path / "out"
    before: dict[Path, tuple[int, int]] = {}

    def kill_when_some_are_scored() -> None:
        while len(score_files(out)) < 3:
            time.sleep(0.02)
        before.update(score_files(out))
        cluster.remove_node(cluster.nodes_of_workers[0], allow_graceful=False)

    killer = threading.Thread(target=kill_when_some_are_scored)
    killer.start()
    results = milepost.evaluate(
        tiny_run, **asked, output_path=out, executor="ray", ray_address=cluster.address, workers=2
    )
    killer.join()
    assert len(results.scored) == 3, results.failures
    assert before.items() <= score_files(out).items(), "nothing that was stored is scored again"
    assert_same_records(out, alone)


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
