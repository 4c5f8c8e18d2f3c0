"""Named lists of tasks, each a YAML file in this folder with the origin of the list.

A list may set the few-shot examples of each task; `--num-fewshot` overrides them all.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from milepost.errors import TaskError
from milepost.text.language import Phrase

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Suite:
    """A named list of tasks."""

    name: str
    about: str
    sources: tuple[str, ...]
    tasks: tuple[str, ...]
    """lm_eval's names, in the order of the run."""
    helm: tuple[str, ...]
    """HELM's run entries; empty where HELM is not installed."""
    shots: tuple[tuple[str, int], ...]
    """(task, examples in the prompt); tasks that are not listed keep their own number."""


def suite_names() -> list[str]:
    """Return the names of all suites, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """Return the suite with this name.

    Raises:
        TaskError: there is no such suite; the hint lists all.
    """
    if name not in suite_names():
        raise TaskError(Phrase("there is no suite {name!r}", name=name), "one of " + ", ".join(suite_names()))
    import yaml

    written = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return Suite(
        name=written["name"],
        about=written["about"].strip(),
        sources=tuple(written["sources"]),
        tasks=tuple(entry["task"] for entry in written["tasks"]),
        helm=tuple(written.get("helm", ())) if importlib.util.find_spec("helm") else (),
        shots=tuple(
            (entry["task"], entry["num_fewshot"]) for entry in written["tasks"] if "num_fewshot" in entry
        ),
    )
