"""lm_eval's loaded tasks behind the interface of a question source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from milepost.tasks.lm_eval import describe, groups
from milepost.tasks.lm_eval.docs import docs_of
from milepost.tasks.lm_eval.generation import with_defaults
from milepost.tasks.lm_eval.loading import LoadedTasks, load_tasks
from milepost.tasks.lm_eval.main_thread import needs_main_thread
from milepost.tasks.lm_eval.metrics import compute_metrics
from milepost.tasks.lm_eval.requests import build_requests, doc_hash
from milepost.tasks.question_source import (
    Description,
    Evaluation,
    ModelTraits,
    PlannedDocs,
    Responses,
    TaskRequests,
)
from milepost.tasks.settings import TaskSettings
from milepost.types.metrics import Estimate
from milepost.types.picks import PickCounts


@dataclass(frozen=True, slots=True)
class LmEvalTasks:
    """Task objects of lm_eval; the methods are those of `QuestionSet`."""

    loaded: LoadedTasks
    models: ModelTraits

    @classmethod
    def load(cls, settings: TaskSettings, models: ModelTraits) -> LmEvalTasks:
        """Load task objects and data. Raises as `load_tasks`."""
        return cls(load_tasks(settings), models)

    def requests(self) -> Iterator[TaskRequests]:
        """Yield lm_eval's requests; the models' `generation_config.json` completes their generations."""
        eos = self.models.load_tokenizer().eos_token
        for task in build_requests(self.loaded, self.models.chat_template):
            requests = [
                request
                if request.generation is None
                else replace(request, generation=with_defaults(request.generation, self.models.defaults, eos))
                for request in task.requests
            ]
            generations = [request.generation for request in task.requests]
            yield replace(task, requests=requests, task_generations=generations)

    def describe(self) -> Description:
        """Describe versions, metrics, filters and groups."""
        return Description(
            counting=describe.describe_counting(self.loaded),
            configs=describe.digest_of_configs(self.loaded),
            tasks=describe.describe_tasks(self.loaded),
        )

    def digest(self) -> str:
        """Return a hash of the task files."""
        return self.loaded.files_digest

    def data_used(self) -> list[dict[str, Any]] | None:
        """Return the Hub data sets and local files; None for a task whose own code loads its data."""
        return describe.data_used(self.loaded)

    def compute_metrics(
        self, responses: Mapping[str, Responses], planned: Mapping[str, PlannedDocs]
    ) -> Evaluation:
        """Compute lm_eval's metrics with the docs of its task objects."""
        return compute_metrics(self.loaded, responses)

    def group_metrics(
        self, metrics: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
    ) -> dict[str, dict[str, Estimate]]:
        """Return group means with lm_eval's weights."""
        return groups.group_metrics(self.loaded, metrics, sizes)

    def group_picks(self, picks: Mapping[str, PickCounts]) -> dict[str, PickCounts]:
        """Return the picks of lm_eval's groups."""
        return groups.group_picks(self.loaded, picks)

    def needs_main_thread(self) -> bool:
        """Return whether a task's own code, such as a signal handler, runs only in the main thread."""
        return needs_main_thread(self.loaded)

    def find_difference(
        self, counting: Mapping[str, Any], doc_hashes: Mapping[str, Callable[[], list[str]]]
    ) -> str | None:
        """Compare metrics, filters, groups and docs."""
        if describe.describe_counting(self.loaded) != counting:
            return "metrics, filters or groups"
        for name in self.loaded.tasks:
            if name in doc_hashes and doc_hashes[name]() != [
                doc_hash(doc) for _, doc in docs_of(self.loaded, name)
            ]:
                return f"docs of {name}"
        return None
