"""The simulation of clusters: nothing is lost or doubled, and its figures follow from what happens."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHARDS = [("hellaswag", 200_000, 90.0), *(("mmlu_a", 20_000, 5.0),) * 6]


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scale")


def test_a_cluster_scores_everything_once_and_is_busy_most_of_the_time(scale: Any) -> None:
    seen = scale.Simulation(scale.Cluster(16, stragglers=0, node_losses_per_day=0), SHARDS, 200).run()
    assert seen.scored_twice == 0
    assert seen.needed_s == 200 * 120
    assert 0.9 < seen.needed_s / (16 * seen.makespan_s) <= 1


def test_lost_nodes_cost_what_was_under_way(scale: Any) -> None:
    usual = scale.Simulation(scale.Cluster(32, node_losses_per_day=0), SHARDS, 100).run()
    losing = scale.Simulation(scale.Cluster(32, node_losses_per_day=300.0), SHARDS, 100).run()
    assert losing.lost_nodes > 0
    assert losing.lost_s > 0
    assert losing.makespan_s > usual.makespan_s
    assert losing.scored_twice == 0


def test_a_slow_store_shows(scale: Any) -> None:
    measured = {"shards": SHARDS, "bytes_per_checkpoint": 1000, "tasks": 2, "docs": 100}
    fast, slow = (
        scale.replay(scale.Cluster(64, store_gb_s=speed), measured, 1, 256) for speed in (100.0, 0.1)
    )
    assert fast["efficiency %"] > slow["efficiency %"] > 0
    assert slow["what"] == "store 0.1 GB/s in all"
