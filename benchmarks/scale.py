"""Replay measured shard times on simulated clusters, with the scheduler's own code.

    python benchmarks/scale.py --measure [--limit 40]    shard times of 60 tasks on this machine, 15M shape
    python benchmarks/scale.py                           8 to 10,000 devices, 27 to 20,000 checkpoints
    python benchmarks/scale.py --devices 1000 --runs 10 --name tenth     one cluster; a name keeps its row

`milepost.run.executors.schedule.Schedule` is told of events in their order, as a driver tells it. The
seconds of a shard are those that were measured for its task, per token that a forward pass computes, on
the shards of the full plan. Scatter, stragglers, lost nodes, weights from a store and the start of
workers are simulated (`Cluster`). The driver handles one event after the other: each takes the CPU
seconds that the scheduler's code took here, plus `EVENT_S` for what the driver does besides, and later
events wait. Efficiency is the seconds of scoring that were needed, over devices times makespan.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

from common import GPT2, RESULTS, SHAPES, markdown, offline_hub, one_thread, write_result

from milepost.run.executors.schedule import Schedule, ShardCost, Unit

TASKS = ("mmlu", "hellaswag", "arc_easy", "piqa")
"""57 subjects and three more: 60 tasks."""
EVENT_S = 0.0003
"""CPU seconds of a driver per event besides the scheduler: a message and the progress line."""
UNIT_S = 0.004
"""The same per unit: the order, and the records of a visit."""
NODE = 8
"""Devices per node, which are lost together."""
METRICS_S = 1.5 / 14_042
"""CPU seconds of metrics per doc: docs/decisions/0021, full MMLU."""
MEASURED = "shards"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A simulated cluster."""

    devices: int
    speed: float = 1.0
    """How many times faster a device is than the core that was measured."""
    start_s: float = 30.0
    """Until a worker has imported everything; each differs by up to a third."""
    weights_gb: float = 1.0
    """Weights of a checkpoint: 500M parameters in 16 bits."""
    read_gb_s: float = 0.5
    """Speed at which one device reads weights while few read."""
    store_gb_s: float = 100.0
    """Speed of the store for all devices together."""
    scatter: float = 0.05
    """Standard deviation of a shard's time, as a share."""
    stragglers: float = 0.01
    """Share of the devices that are three times slower."""
    node_losses_per_day: float = 0.02
    """Losses per node and day; a node comes back after `node_back_s`."""
    node_back_s: float = 300.0
    seed: int = 0


@dataclass
class Outcome:
    """What a simulation saw."""

    makespan_s: float = 0.0
    needed_s: float = 0.0
    """Seconds of scoring at each device's own speed, had nothing been lost."""
    loads: int = 0
    units: int = 0
    lost_s: float = 0.0
    lost_nodes: int = 0
    scored_twice: int = 0
    driver_s: float = 0.0
    scheduler_s: float = 0.0
    waited_s: float = 0.0
    """Longest wait of an event for the driver."""


@dataclass(slots=True)
class _Device:
    speed: float
    number: int
    at: int | None = None
    unit: Unit | None = None
    began: float = 0.0
    epoch: int = 0
    """Counts the lives: events of an earlier one are void."""
    ready_s: dict[int, float] = field(default_factory=dict)
    """Checkpoint to the time at which its weights, read meanwhile, are there."""
    ends: list[float] = field(default_factory=list)
    """When each shard of the unit is stored."""


class Simulation:
    """A run on a simulated cluster."""

    def __init__(
        self, cluster: Cluster, shards: Sequence[tuple[str, int, float]], n_checkpoints: int
    ) -> None:
        self.cluster = cluster
        self.outcome = Outcome()
        self._draw = random.Random(cluster.seed)
        self._seconds = [seconds for _, _, seconds in shards]
        self._schedule = Schedule()
        costs = [ShardCost(task, tokens) for task, tokens, _ in shards]
        for number in range(n_checkpoints):
            self._schedule.add(number, costs, range(len(costs)))
        self._left = n_checkpoints
        self._finished: set[int] = set()
        self._opened: set[int] = set()
        self._stored: dict[int, set[int]] = {}
        self._events: list[tuple[float, int, str, int, int]] = []
        self._order = 0
        self._driver_free = self._end = 0.0
        self._idle: list[int] = []
        slow = int(cluster.devices * cluster.stragglers)
        self._devices = [
            _Device(cluster.speed / (3.0 if i < slow else 1.0), i) for i in range(cluster.devices)
        ]
        self._draw.shuffle(self._devices)
        self._total_speed = sum(device.speed for device in self._devices)
        self._work_s = n_checkpoints * sum(self._seconds)

    def run(self) -> Outcome:
        """Run until every checkpoint is scored."""
        for i in range(len(self._devices)):
            self._at(self.cluster.start_s * self._draw.uniform(0.83, 1.17), "joined", i)
        for node in range(0, len(self._devices), NODE):
            self._plan_loss(0.0, node)
        while self._left:
            now, _, kind, i, epoch = heapq.heappop(self._events)
            if kind == "node":
                self._lose(now, i)
            elif epoch == self._devices[i].epoch:
                getattr(self, f"_{kind}")(now, i)
        self.outcome.makespan_s = self._end
        self.outcome.needed_s = self._work_s / self._total_speed * len(self._devices)
        return self.outcome

    # ---- events ---------------------------------------------------------------------------------------

    def _joined(self, now: float, i: int) -> None:
        self._idle.append(i)
        self._give(self._handle(now, lambda: None))

    def _loaded(self, now: float, i: int) -> None:
        """Weights are in place: the first worker of a checkpoint says which model it is."""
        device = self._devices[i]
        assert device.unit is not None
        number = device.unit.checkpoint

        def tell() -> None:
            self._schedule.loaded(device.number, now - device.began)
            if number not in self._opened:
                self._opened.add(number)
                self._schedule.opened(number)

        is_first = number not in self._opened
        free = self._handle(now, tell)
        self._score(now, i)
        if is_first:
            self._give(free)

    def _ended(self, now: float, i: int) -> None:
        device = self._devices[i]
        unit, number = device.unit, device.number
        assert unit is not None
        times = [end - start for start, end in zip([device.began, *device.ends], device.ends, strict=False)]

        def tell() -> None:
            for shard, seconds in zip(unit.shards, times, strict=True):
                self._schedule.scored(number, shard, seconds)
            self._schedule.ended(number)

        free = self._handle(now, tell, events=len(unit.shards), units=1)
        self._keep(unit, unit.shards)
        device.unit = None
        self._close(unit.checkpoint, now)
        self._idle.append(i)
        self._give(free)

    def _lose(self, now: float, node: int) -> None:
        """A node is gone: what its devices had not stored is given to others."""
        self.outcome.lost_nodes += 1
        for i in range(node, min(node + NODE, len(self._devices))):
            device = self._devices[i]
            device.epoch += 1
            device.ready_s.clear()
            unit = device.unit
            if unit is not None:
                ended = zip(unit.shards, device.ends, strict=False)
                stored = {shard for shard, end in ended if end <= now}
                done_at = max([end for end in device.ends if end <= now], default=device.began)
                self.outcome.lost_s += max(0.0, now - done_at)
                self._keep(unit, stored)
                self._handle(now, lambda d=device, s=stored: self._schedule.lost(d.number, s))
                self._close(unit.checkpoint, now)
            elif i in self._idle:
                self._idle.remove(i)
            device.unit, device.at = None, None
            device.number += len(self._devices)  # the worker that takes its place
            self._at(now + self.cluster.node_back_s, "joined", i)
        self._plan_loss(now + self.cluster.node_back_s, node)
        self._give(self._driver_free)

    # ---- what happens between them -------------------------------------------------------------------

    def _give(self, now: float) -> None:
        """Ask the schedule for each worker without a unit, as the driver does after every event."""
        while self._idle:
            i = self._idle.pop()  # the one that ended just now, which may go on at its checkpoint
            device = self._devices[i]
            began = time.process_time()
            unit = self._schedule.next_unit(device.number)
            upcoming = None if unit is None else self._schedule.upcoming(device.number)
            self._count(time.process_time() - began, UNIT_S if unit is not None else 0.0)
            if unit is None:
                self._idle.append(i)
                return  # nor is there anything for the others now
            self.outcome.units += 1
            self._begin(max(now, self._driver_free), i, unit, upcoming)

    def _begin(self, now: float, i: int, unit: Unit, upcoming: int | None) -> None:
        device = self._devices[i]
        device.unit, device.began = unit, now
        if device.at == unit.checkpoint:
            self._score(now, i)
        else:
            device.at = unit.checkpoint
            ready = device.ready_s.pop(unit.checkpoint, None)
            device.ready_s.clear()
            self._at(max(now, self._read(now) if ready is None else ready), "loaded", i)
        if upcoming is not None and upcoming not in device.ready_s:
            device.ready_s[upcoming] = self._read(now)

    def _read(self, now: float) -> float:
        """Return when a checkpoint's weights, read from now on, are there."""
        self.outcome.loads += 1
        shared = self.cluster.store_gb_s / max(1, len(self._devices))
        return now + self.cluster.weights_gb / max(min(self.cluster.read_gb_s, shared * 4), shared)

    def _score(self, now: float, i: int) -> None:
        device = self._devices[i]
        assert device.unit is not None
        device.began, device.ends = now, []
        at = now
        for shard in device.unit.shards:
            scatter = max(0.2, self._draw.gauss(1.0, self.cluster.scatter))
            at += self._seconds[shard] / device.speed * scatter
            device.ends.append(at)
        self._at(at, "ended", i)

    def _keep(self, unit: Unit, shards: Sequence[int] | set[int]) -> None:
        stored = self._stored.setdefault(unit.checkpoint, set())
        self.outcome.scored_twice += len(stored.intersection(shards))
        stored.update(shards)

    def _close(self, number: int, now: float) -> None:
        if number in self._finished or not self._schedule.is_finished(number):
            return
        assert len(self._stored[number]) == len(self._seconds), "every shard is stored"
        self._finished.add(number)
        del self._stored[number]
        self._left -= 1
        self._end = now

    def _handle(self, now: float, tell: Any, *, events: int = 1, units: int = 0) -> float:
        """Let the driver handle events once it is free; returns when it has."""
        self.outcome.waited_s = max(self.outcome.waited_s, self._driver_free - now)
        self._driver_free = max(self._driver_free, now)
        began = time.process_time()
        tell()
        self._count(time.process_time() - began, events * EVENT_S + units * UNIT_S)
        return self._driver_free

    def _count(self, scheduler_s: float, besides_s: float) -> None:
        self.outcome.scheduler_s += scheduler_s
        self.outcome.driver_s += scheduler_s + besides_s
        self._driver_free += scheduler_s + besides_s

    def _plan_loss(self, now: float, node: int) -> None:
        per_s = self.cluster.node_losses_per_day / 86400
        if per_s:
            self._at(now + self._draw.expovariate(per_s), "node", node)

    def _at(self, when: float, kind: str, i: int) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, kind, i, self._devices[i].epoch))


# ---- the measurement -----------------------------------------------------------------------------------


def measure(limit: int) -> dict[str, Any]:
    """Return the shards of the full plan of 60 tasks, with seconds by the pace that each task had here.

    Args:
        limit: docs of each task that are scored for the pace.
    """
    with offline_hub(), tempfile.TemporaryDirectory(prefix="milepost-scale-") as temporary:
        folder = Path(temporary)
        one_thread()
        from transformers import AutoTokenizer

        import milepost
        from milepost.run.disk_estimate import disk_needed
        from milepost.run.plans.plan_folder import read_saved_plan
        from milepost.store import ResultsFolder

        model = folder / "run" / "step-1000"
        SHAPES["15M"].build().save_pretrained(model)
        AutoTokenizer.from_pretrained(GPT2).save_pretrained(model)
        asked: dict[str, Any] = {"num_fewshot": 0}
        milepost.save_plan(str(model), TASKS, folder / "some", limit=limit, **asked)
        milepost.save_plan(str(model), TASKS, folder / "all", **asked)
        written: dict[str, float] = {}
        write = ResultsFolder.write_scores

        def timed(self: ResultsFolder, path: Path, *arguments: Any, **named: Any) -> None:
            written[path.stem] = time.thread_time()
            write(self, path, *arguments, **named)

        with mock.patch.object(ResultsFolder, "write_scores", timed):
            milepost.evaluate(
                str(model),
                TASKS,
                output_path=folder / "out",
                limit=limit,
                device="cpu",
                workers=None,
                **asked,
            )
        some, every = (read_saved_plan(folder / name).plan for name in ("some", "all"))
        pace = dict(_pace(some, written))
        usual = sorted(pace.values())[len(pace) // 2]
        return {
            "tasks": len(every.tasks),
            "limit": limit,
            "bytes_per_checkpoint": disk_needed(every),
            "docs": sum(task.n_docs for task in every.tasks),
            "docs_scored": sum(task.n_docs for task in some.tasks),
            "shards": [
                [task.name, task.work_of(shard), task.work_of(shard) * pace.get(task.name, usual)]
                for task in every.tasks
                for shard in task.shards
            ],
        }


def _pace(plan: Any, written: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Yield seconds per token of each task; the very first shard, which includes the start, has none."""
    times = [(written[shard.shard_id], task, shard) for task in plan.tasks for shard in task.shards]
    times.sort(key=lambda one: one[0])
    for (before, _, _), (after, task, shard) in pairwise(times):
        yield task.name, (after - before) / task.work_of(shard)


# ---- the command ---------------------------------------------------------------------------------------

GRID = (
    # devices, runs, checkpoints per run, speed, what
    (8, 1, 27, 1.0, {}),
    (64, 8, 50, 1.0, {}),
    (1000, 100, 200, 1.0, {}),
    (1000, 100, 200, 1.0, {"node_losses_per_day": 2.0}),
    (1000, 100, 200, 1.0, {"stragglers": 0.1}),
    (1000, 100, 200, 1.0, {"store_gb_s": 5.0}),
    (1000, 100, 200, 50.0, {}),
    (1000, 100, 200, 50.0, {"store_gb_s": 5.0}),
    (10_000, 100, 200, 1.0, {}),
    (10_000, 100, 200, 50.0, {}),
)


def replay(cluster: Cluster, measured: dict[str, Any], runs: int, checkpoints: int) -> dict[str, Any]:
    """Return a row of the table for one cluster."""
    n = runs * checkpoints
    shards = [(task, tokens, seconds) for task, tokens, seconds in measured["shards"]]
    began = time.process_time()
    seen = Simulation(cluster, shards, n).run()
    efficiency = seen.needed_s / (cluster.devices * seen.makespan_s)
    return {
        "devices": cluster.devices,
        "checkpoints": n,
        "speed": cluster.speed,
        "what": _what(cluster),
        "makespan s": seen.makespan_s,
        "efficiency %": 100 * efficiency,
        "loads": seen.loads,
        "moved TB": (seen.loads * cluster.weights_gb * 1e9 + n * measured["bytes_per_checkpoint"]) / 1e12,
        "store GB": n * measured["bytes_per_checkpoint"] / 1e9,
        "records": n * (len(shards) + measured["tasks"] + 3),
        "units": seen.units,
        "nodes lost": seen.lost_nodes,
        "lost s": seen.lost_s,
        "shards twice": seen.scored_twice,
        "driver busy %": 100 * seen.driver_s / seen.makespan_s,
        "scheduler ms/unit": 1000 * seen.scheduler_s / seen.units,
        "longest wait s": seen.waited_s,
        "metrics s, one process": n * METRICS_S * measured["docs"],
        "simulated in s": time.process_time() - began,
    }


def _what(cluster: Cluster) -> str:
    usual = Cluster(cluster.devices)
    named = {
        "node_losses_per_day": f"each node lost {cluster.node_losses_per_day:g} times a day",
        "stragglers": f"{cluster.stragglers:.0%} of the devices three times slower",
        "store_gb_s": f"store {cluster.store_gb_s:g} GB/s in all",
    }
    return (
        ", ".join(text for name, text in named.items() if getattr(cluster, name) != getattr(usual, name))
        or "usual"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure shard times and store them")
    parser.add_argument("--limit", type=int, default=40, help="docs per task of the measurement")
    parser.add_argument("--devices", type=int, help="one cluster instead of all")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--checkpoints", type=int, default=200)
    parser.add_argument("--speed", type=float, default=1.0, help="devices' speed; 1 is the measured core's")
    parser.add_argument("--name", help="store the row of one cluster as a result of this name")
    options = parser.parse_args(arguments)
    if options.measure:
        measured = measure(options.limit)
        seconds = sum(seconds for *_, seconds in measured["shards"])
        table = [
            {
                "tasks": measured["tasks"],
                "shards": len(measured["shards"]),
                "seconds per checkpoint": seconds,
            }
        ]
        print(write_result("scale", f"{MEASURED}-15M-60-tasks", measured, table))
        return
    newest = sorted(RESULTS.glob(f"scale-*-{MEASURED}-*.json"))
    if not newest:
        raise SystemExit("no measurement: python benchmarks/scale.py --measure")
    measured = json.loads(newest[-1].read_text("utf-8"))
    if options.devices is not None:
        cluster = Cluster(options.devices, speed=options.speed)
        rows = [replay(cluster, measured, options.runs, options.checkpoints)]
        print("\n".join(markdown(rows)))
        if options.name:
            print(write_result("scale", options.name, {"measured": newest[-1].stem}, rows))
        return
    rows = []
    for devices, runs, checkpoints, speed, what in GRID:
        rows.append(replay(Cluster(devices, speed=speed, **what), measured, runs, checkpoints))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(write_result("scale", "clusters", {"measured": newest[-1].stem}, rows))


if __name__ == "__main__":
    main()
