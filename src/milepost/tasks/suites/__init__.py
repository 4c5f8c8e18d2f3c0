"""Named lists of tasks, each a YAML file beside this one that says where the list comes from.

Examples in the prompt are per task, where the source says how many; `--num-fewshot` overrides them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from milepost.errors import TaskError

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Suite:
    """One list of tasks."""

    name: str
    about: str
    sources: tuple[str, ...]
    tasks: tuple[str, ...]
    """lm_eval's names, in the order in which they are asked."""
    shots: tuple[tuple[str, int], ...]
    """(task, examples in the prompt) where the source says a number; the others keep their own."""


def suite_names() -> list[str]:
    """The suites there are, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """The suite of that name.

    Raises:
        TaskError: there is none; the hint lists them.
    """
    if name not in suite_names():
        raise TaskError(f"there is no suite {name!r}", "one of " + ", ".join(suite_names()))
    import yaml

    written = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return Suite(
        name=written["name"],
        about=written["about"].strip(),
        sources=tuple(written["sources"]),
        tasks=tuple(entry["task"] for entry in written["tasks"]),
        shots=tuple(
            (entry["task"], entry["num_fewshot"]) for entry in written["tasks"] if "num_fewshot" in entry
        ),
    )
