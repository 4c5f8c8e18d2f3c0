"""Try examples of every kind until their number or the time is reached; the files of failures are kept.

An example depends only on its kind and number, so that `MILEPOST_FUZZ_ONLY=parity:123 make fuzz`
repeats it.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import platform
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.damage import damage_example
from tests.fuzz.parity import parity_example
from tests.fuzz.statistics import statistics_example

Example = Callable[[int, Path], str]
KINDS: dict[str, Example] = {
    "parity": parity_example,
    "damage": damage_example,
    "statistics": statistics_example,
}
TURNS = ("parity", "damage", "parity", "statistics", "parity", "damage", "parity", "statistics")
MOST_SECONDS_EACH = 120


@dataclass(frozen=True)
class Failed:
    """An example that failed, and the command that repeats it."""

    kind: str
    number: int
    error: str
    files: str
    repeat: str


@dataclass
class Report:
    """The result of a run of the loop."""

    seed: int
    seconds: float = 0.0
    examples: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: list[Failed] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        packages = ("milepost", "lm_eval", "torch", "transformers", "tokenizers", "datasets")
        return {
            "date": time.strftime("%Y-%m-%d %H:%M:%S"),
            "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "versions": {name: importlib.metadata.version(name) for name in packages},
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "examples": dict(self.examples),
            "outcomes": dict(self.outcomes.most_common()),
            "failed": [asdict(failed) for failed in self.failed],
        }


def fuzz(
    n: int,
    seed: int,
    seconds: float,
    work: Path,
    failures: Path,
    *,
    turns: tuple[str, ...] = TURNS,
    say: Callable[[str], None] = print,
) -> Report:
    """Try `n` examples, or as many as `seconds` allow.

    Args:
        work: a scratch folder.
        failures: where the files of failed examples are kept.
    """
    quiet()
    report, began, reported = Report(seed), time.monotonic(), time.monotonic()
    for number in range(seed, seed + n):
        if time.monotonic() - began > seconds:
            say(f"time is over ({seconds:.0f} s)")
            break
        kind = turns[number % len(turns)]
        failed = try_example(kind, number, work, failures, report)
        report.examples[kind] += 1
        report.seconds = time.monotonic() - began
        if failed:
            report.failed.append(failed)
            say(f"FAILED {kind}:{number}: {failed.error}\n  files: {failed.files}\n  again: {failed.repeat}")
        elif time.monotonic() - reported > 30:
            reported = time.monotonic()
            done = sum(report.examples.values())
            say(f"{done} examples, {len(report.failed)} failed, {report.seconds:.0f} s")
    return report


def try_example(kind: str, number: int, work: Path, failures: Path, report: Report) -> Failed | None:
    """Try an example; its files are kept only if it fails."""
    place = work / f"{kind}-{number}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        with _at_most(MOST_SECONDS_EACH):
            outcome = KINDS[kind](number, place)
        report.outcomes[_class_of(kind, outcome)] += 1
        return None
    except Exception as error:
        (place / "error.txt").write_text(traceback.format_exc())
        kept = failures / place.name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(place, kept, symlinks=True, ignore=_no_pipes)
        message = f"{type(error).__name__}: {str(error)[:500]}"
        return Failed(kind, number, message, str(kept), f"MILEPOST_FUZZ_ONLY={kind}:{number} make fuzz")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _class_of(kind: str, outcome: str) -> str:
    """Return the class of an outcome: architecture and engine, the check, or the first damage."""
    if kind == "parity":
        parts = outcome.split(": ")[0].split(", ")
        return f"parity {parts[0]} {parts[-1]}" + (" refused" if outcome.endswith("refused") else "")
    return f"{kind} {outcome.split()[0]}"


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_fifo()]


class TooLong(Exception):
    """An example takes too long."""


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def end(*_: object) -> None:
        raise TooLong(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def quiet() -> None:
    """Switch off lm_eval's warnings of keys that a file leaves out, and datasets' progress bars."""
    import datasets

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()


def write_report(report: Report, path: Path) -> None:
    path.write_text(json.dumps(report.as_json(), indent=1) + "\n")
