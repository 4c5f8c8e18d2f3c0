"""lm_eval's tasks as a question source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.checks import check_tasks
from milepost.tasks.lm_eval.data_state import data_state

if TYPE_CHECKING:
    from milepost.tasks.lm_eval.question_set import LmEvalTasks
    from milepost.tasks.question_source import ModelTraits
    from milepost.tasks.settings import TaskSettings


class LmEval:
    """The tasks, groups and tags of lm_eval and of the user's YAML files; see `QuestionSource`."""

    name = "lm_eval"

    def is_used(self, settings: TaskSettings) -> bool:
        """Return whether tasks are named."""
        return bool(settings.names)

    def check(self, settings: TaskSettings) -> str:
        """Check names and task files; see `checks.check_tasks`."""
        return check_tasks(settings).digest

    def load(self, settings: TaskSettings, models: ModelTraits) -> LmEvalTasks:
        """Load task objects and their data; see `loading.load_tasks`."""
        from milepost.tasks.lm_eval.question_set import LmEvalTasks  # imports lm_eval, which takes seconds

        return LmEvalTasks.load(settings, models)

    def user_tasks(self, names: Iterable[str]) -> list[str]:
        """Return the names that the installed lm_eval does not have."""
        catalog = load_catalog()
        return [name for name in dict.fromkeys(names) if name not in catalog]

    def data_state(self, ref: dict[str, Any]) -> str | None:
        """Return the commit of a Hub data set, or a hash of local files."""
        return data_state(ref)


SOURCE = LmEval()
