"""Read from a plan with which of the user's settings a task was asked."""

from __future__ import annotations

from milepost.store.records import PlanRecord
from milepost.types.metrics import Asked
from milepost.types.variants import other_options

_DEFAULT_SEEDS = {"python": 0, "numpy": 1234, "torch": 1234, "fewshot": 1234}
OTHERS = (
    "samples",
    "apply_chat_template",
    "fewshot_as_multiturn",
    "system_instruction",
    "gen_kwargs",
    "metadata",
    "max_eval_instances",
    "max_train_instances",
    "num_train_trials",
)
"""Options of `tasks.settings.TaskSettings` that change prompts or answers and have no column of their own."""


def asked_of(plan: PlanRecord, num_fewshot: int | None) -> Asked:
    """Return the settings of a task of a plan.

    Args:
        num_fewshot: examples in the task's prompts; None for a group whose tasks differ.
    """
    asked = plan.asked
    given = {name: asked.get(name) for name in OTHERS}
    seeds = asked.get("seeds") or {}
    if any(_DEFAULT_SEEDS.get(name) != value for name, value in seeds.items()):
        given["seed"] = list(seeds.values())
    return Asked(num_fewshot=num_fewshot, limit=asked.get("limit"), others=other_options(given))
