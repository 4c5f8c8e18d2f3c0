"""HELM's lists of scenarios and metrics (`schema_*.yaml`): what sums up a run, and which way is better."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

FIRST = ("schema_lite.yaml", "schema_classic.yaml")
"""Those that are asked first; the first that knows a name counts."""


@functools.cache
def main_of_groups() -> dict[str, tuple[str, str | None]]:
    """Return, by group of runs, name and split of its main statistic."""
    found: dict[str, tuple[str, str | None]] = {}
    for group in _entries("run_groups", FIRST):
        main = group.get("environment", {}).get("main_name")
        if main and "$" not in main:
            found.setdefault(group["name"], (main, group["environment"].get("main_split")))
    return found


@functools.cache
def directions() -> dict[str, bool]:
    """Return, by the name of a statistic that has a direction, whether lower is better."""
    folder = resources.files("helm.benchmark.static")
    others = sorted(path.name for path in folder.iterdir() if path.name.startswith("schema_"))
    found: dict[str, bool] = {}
    for metric in _entries("metrics", (*FIRST, *others)):
        if metric.get("lower_is_better") is not None:
            found.setdefault(metric["name"], metric["lower_is_better"])
    return found


def _entries(kind: str, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield from entries_of(name, kind)


@functools.cache
def entries_of(name: str, kind: str) -> list[dict[str, Any]]:
    """Return what a schema says under one of its keys; the rest, most of the file, is not parsed."""
    import yaml

    fastest: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    text = resources.files("helm.benchmark.static").joinpath(name).read_text("utf-8")
    part = next((part for part in re.split(r"(?m)^(?=\w+:)", text) if part.startswith(f"{kind}:")), "")
    content: dict[str, Any] = yaml.load(part, Loader=fastest) or {}
    return content.get(kind) or []
