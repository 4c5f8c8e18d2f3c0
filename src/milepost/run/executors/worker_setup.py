"""The values that every worker of a run is given when it is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from milepost.plan.plan import Plan
from milepost.plan.plan_files import load_plan
from milepost.run.config import EvalConfig
from milepost.run.plans.plan_folder import planned_from
from milepost.run.plans.preparation import Preparation
from milepost.run.series.prepared_series import PlanKey, PreparedSeries
from milepost.store import confinement
from milepost.text.language import language


@dataclass(frozen=True)
class WorkerSetup:
    """Plain values, which pickle."""

    config: EvalConfig
    series: Sequence[PreparedSeries]
    plan_of: Mapping[PlanKey, str]
    """Key of a series to plan id."""
    plans: Mapping[str, Path | Plan]
    """Plan id to a folder with the plan, or where there is no common disk the plan itself."""
    results: Path
    """The folder that the worker writes to."""
    language: str
    """Language of messages: the one of the driver's reader."""
    token: str | None = None
    """Content of the probe file; None where the worker is on the driver's machine or writes elsewhere."""

    def on(self, device: str) -> WorkerSetup:
        """Return the set-up of a worker that computes on that device."""
        return replace(self, config=replace(self.config, device=device))

    def preparation(self) -> Preparation:
        """Return what the worker knows of series and plans; plans in files are mapped into memory."""
        tasks = {
            key: planned_from(plan if isinstance(plan, Plan) else load_plan(plan))
            for key, plan in ((key, self.plans[plan_id]) for key, plan_id in self.plan_of.items())
        }
        return Preparation(self.series, tasks, None)


def setup_of(
    config: EvalConfig, preparation: Preparation, plans: Mapping[str, Path | Plan], token: str | None = None
) -> WorkerSetup:
    """Return what the workers of a run are given.

    Args:
        plans: plan id to its folder, or to the plan.
        token: content of the probe file; None where none is needed.
    """
    texts = any(plan.generates_text for plan in preparation.plans)
    return WorkerSetup(
        config=config,
        series=[replace(series, load_tokenizer=_given(series, texts)) for series in preparation.series],
        plan_of={key: tasks.plan.plan_id for key, tasks in preparation.tasks.items()},
        plans=plans,
        results=confinement.absolute(config.output_path),
        language=language(),
        token=token,
    )


def _given(series: PreparedSeries, texts: bool) -> _Tokenizer:
    return _Tokenizer(series.tokenizer if texts else None)


@dataclass(frozen=True, slots=True)
class _Tokenizer:
    """Returns a tokenizer that travels with it; None where no text is generated, which needs none."""

    tokenizer: Any

    def __call__(self) -> Any:
        return self.tokenizer
