"""A process has no more cores than its affinity and its control groups give it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from milepost import cores


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups with nothing in it, on a machine with 16 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "membership")
    return tmp_path / "cgroup"


def within(groups: Path, membership: str, **limits: str) -> int:
    """Return the cores of a process with this `/proc/self/cgroup`; `limits` are files below the groups."""
    (groups.parent / "membership").write_text(membership)
    for name, text in limits.items():
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cores.usable_cores()


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({}, 16),
        ({"a/b/cpu.max": "max 100000\n"}, 16),
        ({"a/b/cpu.max": "200000 100000\n"}, 2),
        ({"a/b/cpu.max": "150000 100000\n"}, 2),
        ({"a/b/cpu.max": "10000 100000\n"}, 1),
        ({"a/b/cpu.max": "6400000 100000\n"}, 16),
        ({"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "500000 100000\n"}, 5),
        ({"a/b/cpu.max": "what\n"}, 16),
    ],
)
def test_the_smallest_limit_of_a_group_and_those_above_it_counts(
    groups: Path, limits: dict[str, str], wanted: int
) -> None:
    assert within(groups, "0::/a/b\n", **limits) == wanted


@pytest.mark.parametrize(
    ("folder", "quota", "wanted"), [("pod/box", "250000", 3), ("", "250000", 3), ("pod/box", "-1", 16)]
)
def test_limits_of_version_1_are_read_also_where_a_container_sees_its_own_group_as_the_root(
    groups: Path, folder: str, quota: str, wanted: int
) -> None:
    limits = {f"cpu/{folder}/cpu.cfs_quota_us": quota, f"cpu/{folder}/cpu.cfs_period_us": "100000"}
    assert within(groups, "7:memory:/pod/box\n4:cpu,cpuacct:/pod/box\n", **limits) == wanted


def test_without_control_groups_the_affinity_counts(groups: Path) -> None:
    assert cores.usable_cores() == 16
