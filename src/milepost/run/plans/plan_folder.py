"""Save and read a plan in a folder: made where lm_eval is, scored where only torch and transformers are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError
from milepost.plan.plan import Plan
from milepost.plan.plan_files import load_plan, save_plan
from milepost.run.plans.plan_cache import write_docs
from milepost.run.plans.planning import PlannedTasks
from milepost.tasks.question_source import ModelTraits
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase


def read_saved_plan(folder: Path) -> PlannedTasks:
    """Read the plan that `write_saved_plan`, or the cache of an earlier run, keeps in `folder`.

    Raises:
        MilepostError: there is no plan, or it cannot be read.
    """
    try:
        return planned_from(load_plan(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MilepostError(
            Phrase("{folder} holds no saved plan that can be read", folder=folder),
            "`milepost run ... --save-plan FOLDER` writes one",
        ) from error


def planned_from(plan: Plan) -> PlannedTasks:
    """Return a plan that was loaded, with the settings that it was made with and no tokenizer.

    Raises:
        ValueError, KeyError, TypeError: it holds no settings that can be read.
    """
    return PlannedTasks(
        plan,
        TaskSettings.from_json(plan.settings["asked"]),
        ModelTraits(load_tokenizer=_no_tokenizer, tokenizer_id=plan.tokenizer_id, max_length=plan.max_length),
    )


def _no_tokenizer() -> Any:
    raise AssertionError("a saved plan gets its tokenizer from the models, see `PlannedTasks.with_tokenizer`")


def write_saved_plan(plans: Iterable[Plan], folder: Path) -> Plan:
    """Save the plan of a run in `folder`, in place of an older one; returns it.

    Raises:
        MilepostError: the run has several plans, or the folder holds something else or cannot be written.
    """
    plan, *others = plans
    if others:
        raise MilepostError(
            "the checkpoints differ in tokenizer, context length or generation_config.json, and a saved"
            " plan is for one kind",
            "save the plan of each SOURCE in a folder of its own, or of some checkpoints with --steps",
        )
    if (
        folder.exists()
        and not (folder / "plan.json").is_file()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise MilepostError(
            Phrase("{folder} holds something else than a saved plan", folder=folder),
            "choose a new folder for it",
        )
    try:
        save_plan(plan, folder, write_docs)
    except OSError as error:
        raise MilepostError(
            Phrase("cannot write {folder}: {value}", folder=folder, value=error.strerror or error),
            "choose another folder for --save-plan",
        ) from error
    return plan
