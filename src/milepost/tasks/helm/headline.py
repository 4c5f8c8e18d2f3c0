"""The statistic that sums up a run: HELM's own choice, from a scenario's metadata or from HELM's schemas."""

from __future__ import annotations

from helm.benchmark.adaptation.adapter_spec import ADAPT_LANGUAGE_MODELING
from helm.benchmark.run_spec import RunSpec
from helm.benchmark.scenarios.scenario import Scenario

from milepost.tasks.helm.schemas import main_of_groups

TEST = "test"
UNKNOWN = "unknown"
"""HELM's main metric of a scenario whose metadata name none."""


def headline_of(run_spec: RunSpec, scenario: Scenario) -> tuple[str, str | None]:
    """Return name and split of a run's main statistic.

    HELM has none for language modeling: bits per byte is taken there, and else what the run's first metric
    gives first.
    """
    try:
        metadata = scenario.get_metadata()
        if metadata.main_metric != UNKNOWN:
            return metadata.main_metric, metadata.main_split
    except NotImplementedError:
        pass
    for group in run_spec.groups:
        if group in main_of_groups():
            return main_of_groups()[group]
    if run_spec.adapter_spec.method == ADAPT_LANGUAGE_MODELING:
        return "bits_per_byte", TEST
    names: list[str] = next(
        (spec.args["names"] for spec in run_spec.metric_specs if spec.args.get("names")), []
    )
    return (names[0] if names else "exact_match"), None
