"""The statistic that sums up a run: HELM's own choice, from a scenario's metadata or from HELM's schemas."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib import resources
from typing import Any

from helm.benchmark.adaptation.adapter_spec import ADAPT_LANGUAGE_MODELING
from helm.benchmark.run_spec import RunSpec
from helm.benchmark.scenarios.scenario import Scenario

SCHEMAS = ("schema_lite.yaml", "schema_classic.yaml")
"""HELM's lists of scenarios with their main metrics, the first that knows a run's group counts."""
TEST = "test"


def headline_of(run_spec: RunSpec, scenario: Scenario) -> tuple[str, str | None]:
    """Return name and split of a run's main statistic.

    HELM has none for language modeling: bits per byte is taken there, and else what the run's first metric
    gives first.
    """
    try:
        metadata = scenario.get_metadata()
        return metadata.main_metric, metadata.main_split
    except NotImplementedError:
        pass
    for group in run_spec.groups:
        if group in _main_of_groups():
            return _main_of_groups()[group]
    if run_spec.adapter_spec.method == ADAPT_LANGUAGE_MODELING:
        return "bits_per_byte", TEST
    names: list[str] = next(
        (spec.args["names"] for spec in run_spec.metric_specs if spec.args.get("names")), []
    )
    return (names[0] if names else "exact_match"), None


@functools.cache
def _main_of_groups() -> dict[str, tuple[str, str | None]]:
    """Group to name and split of its main statistic."""
    found: dict[str, tuple[str, str | None]] = {}
    for group in _groups():
        main = group.get("environment", {}).get("main_name")
        if main and "$" not in main:
            found.setdefault(group["name"], (main, group["environment"].get("main_split")))
    return found


def _groups() -> Iterator[dict[str, Any]]:
    import yaml

    for name in SCHEMAS:
        text = resources.files("helm.benchmark.static").joinpath(name).read_text("utf-8")
        yield from yaml.safe_load(text).get("run_groups", ())
