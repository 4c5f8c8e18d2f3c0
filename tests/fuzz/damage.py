"""Damage a results folder at random: no wrong value is shown, nothing outside changes, `run` repairs it."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.cli.called import Called, milepost
from tests.conftest import save_tiny_llama
from tests.run.own_tasks import write_tasks

SENTINEL = "not to be touched\n"


class Unsound(AssertionError):
    """A damaged folder was trusted, or not repaired."""


@functools.cache
def _pristine(root: Path) -> Path:
    """Return a folder with finished results of two checkpoints, the model and the tasks."""
    for step in (1, 2):
        save_tiny_llama(root / "model" / f"checkpoint-{step}", seed=step)
    write_tasks(root / "tasks")
    called = _run(root, root / "results")
    if called.status:
        raise Unsound(f"the undamaged run ended with {called.status}: {called.err}")
    return root


def _run(root: Path, results: Path) -> Called:
    return milepost(
        "run", root / "model", "-t", "farm,prose", "--include-path", root / "tasks", "-o", results,
        "--device", "cpu", "--shard-tokens", 200,
    )  # fmt: skip


def damage_example(seed: int, work: Path) -> str:
    """Damage a copy, show it, repair it and run again; returns the damage in one line.

    Raises:
        Unsound: a value is wrong or missing, or something outside of the folder changed.
    """
    root = _pristine(work.parent / "store")
    random = Random(seed)
    outside = work / "outside"
    outside.mkdir()
    (outside / "file").write_text(SENTINEL)
    results = Path(shutil.copytree(root / "results", work / "results", symlinks=True))
    before = _values(root / "results")
    done = []
    for _ in range(random.choice((1, 1, 2, 4))):
        victims = sorted(path for path in results.rglob("*") if path.is_file() and not path.is_symlink())
        victim, damage = random.choice(victims), random.choice(DAMAGES)
        done.append(f"{damage.__name__.strip('_')} {victim.relative_to(results)}")
        (work / "damage.txt").write_text("\n".join(done) + "\n")
        damage(victim, random, outside)
    for step in ("as damaged", "repaired", "run again"):
        if step == "repaired":
            _answered(milepost("verify", results), (0, 1, 2))
            _answered(milepost("verify", "--repair", results), (0, 1, 2))
        elif step == "run again":
            again = _run(root, results)
            _answered(again, (0, 1, 2))
            if again.status == 2:
                break
        for key, value in _values(results).items():
            if key not in before or before[key] != value:
                raise Unsound(f"{step}: {key} is shown as {value}, it was {before.get(key)}")
    else:
        missing = [key for key in before if key not in _values(results)]
        if again.status == 0 and missing:
            raise Unsound(f"after the run {len(missing)} values are missing, such as {missing[0]}")
    if (outside / "file").read_text() != SENTINEL or len(list(outside.iterdir())) != 1:
        raise Unsound("something outside the folder was changed")
    return "; ".join(done)


def _values(results: Path) -> dict[tuple[Any, ...], Any]:
    called = milepost("show", results, "--json")
    _answered(called, (0, 1, 2))
    if called.status or not called.out:
        return {}
    rows = json.loads(called.out)
    return {
        tuple(row.get(key) for key in ("run", "checkpoint", "step", "task", "metric", "filter")): row["value"]
        for row in (rows if isinstance(rows, list) else rows["measurements"])
        if row["value"] is not None
    }


def _answered(called: Called, statuses: tuple[int, ...]) -> None:
    if called.status not in statuses or "Traceback" in called.err:
        raise Unsound(f"status {called.status}: {called.err[-800:]}")


def _flip(victim: Path, random: Random, outside: Path) -> None:
    data = bytearray(victim.read_bytes())
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    victim.write_bytes(data)


def _cut(victim: Path, random: Random, outside: Path) -> None:
    victim.write_bytes(victim.read_bytes()[: random.randrange(victim.stat().st_size + 1)])


def _zero_end(victim: Path, random: Random, outside: Path) -> None:
    data = victim.read_bytes()
    start = random.randrange(len(data) + 1)
    victim.write_bytes(data[:start] + bytes(len(data) - start))


def _empty(victim: Path, random: Random, outside: Path) -> None:
    victim.write_bytes(b"")


def _remove(victim: Path, random: Random, outside: Path) -> None:
    victim.unlink()


def _append(victim: Path, random: Random, outside: Path) -> None:
    victim.write_bytes(victim.read_bytes() + random.choice((b"\n{}\n", b"\0" * 40, b"junk")))


def _other_content(victim: Path, random: Random, outside: Path) -> None:
    victim.write_bytes(random.choice((b"[]", b"null", b"{}", b"[" * 3000, b'{"a": 1e999}', b"\xff\xfe")))


def _copy_of_another(victim: Path, random: Random, outside: Path) -> None:
    others = sorted(path for path in victim.parent.iterdir() if path.is_file() and path != victim)
    if others:
        shutil.copyfile(random.choice(others), victim)


def _link(victim: Path, random: Random, outside: Path) -> None:
    victim.unlink()
    victim.symlink_to(random.choice((outside / "file", Path("nowhere"), victim)))


def _folder(victim: Path, random: Random, outside: Path) -> None:
    victim.unlink()
    victim.mkdir()


def _pipe(victim: Path, random: Random, outside: Path) -> None:
    victim.unlink()
    os.mkfifo(victim)


DAMAGES: tuple[Callable[[Path, Random, Path], None], ...] = (
    _flip, _flip, _cut, _zero_end, _empty, _remove, _append, _other_content, _copy_of_another, _link,
    _folder, _pipe,
)  # fmt: skip
