"""The interface of a question source (lm_eval's tasks, HELM's scenarios) and the values that pass through it.

A source turns task names into requests before any model is read, and a model's answers into metrics. The
other rooms know these types and no source; `tasks.registry` finds the sources that a run uses. See decision
0029.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from milepost.types.choices import Offer
from milepost.types.generation import Generation, GenerationDefaults
from milepost.types.metrics import Estimate, MissingMetric
from milepost.types.picks import PickCounts
from milepost.types.requests import Request

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.tasks.settings import TaskSettings

ChatTemplate = Callable[..., str]
"""(messages, add_generation_prompt=...) -> prompt, as lm_eval's `LM.apply_chat_template`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraits:
    """The traits of the models that requests may depend on: everything except the weights."""

    load_tokenizer: Callable[[], Any]
    """Return the transformers tokenizer; slow at the first call."""
    tokenizer_id: str
    max_length: int
    """Context length in tokens."""
    defaults: GenerationDefaults = field(default_factory=GenerationDefaults)
    """Settings of the models' `generation_config.json`, for tasks that do not set them."""
    chat_template: ChatTemplate | None = None
    encoder_of: Callable[[Any], Callable[[str], list[int]] | None] = lambda _: None
    """Return, for a tokenizer, a function from a text to its token ids without special tokens that is faster
    than the tokenizer; None where there is none."""


@dataclass(frozen=True, slots=True)
class DocRecord:
    """One doc as the result files show it; the same for every checkpoint."""

    doc_id: int
    """Position in the evaluation split."""
    doc: str
    """JSON of the doc."""
    target: str
    arguments: str
    """JSON: the argument list of each of the doc's requests."""
    doc_hash: str
    prompt_hash: str
    target_hash: str


@dataclass(frozen=True, slots=True)
class TaskRequests:
    """A task's requests, in the order of its source, and its docs."""

    task: str
    requests: list[Request]
    docs: list[DocRecord]
    offers: list[Offer] | None = None
    """The choices of each doc; None where the task is not multiple choice."""
    task_generations: list[Generation | None] | None = None
    """The requests' `generation` without `ModelTraits.defaults`; None where they do not differ."""


@dataclass(frozen=True, slots=True)
class Responses:
    """A model's answers to one task's requests, in the order of `TaskRequests.requests`."""

    kinds: list[str]
    doc_ids: npt.NDArray[np.int64]
    """[R] the position of each request's doc in the split."""
    loglikelihood: npt.NDArray[np.float64]
    """[R] nats."""
    greedy: npt.NDArray[np.bool_]
    """[R]"""
    n_targets: npt.NDArray[np.int64]
    """[R] number of scored tokens."""
    generated: Sequence[Sequence[str] | None] | None = None
    """[R] the texts of each request that generates; None if no request of the task does."""
    raised: str | None = None
    """The first request on which the model raised an exception, and the exception; None if it raised none."""

    def n_unanswered(self) -> int:
        """Return the number of requests with NaN or without a text."""
        if self.generated is None:
            return int(np.isnan(self.loglikelihood).sum())
        return sum(
            texts is None if kind == "generate_until" else math.isnan(score)
            for kind, texts, score in zip(self.kinds, self.generated, self.loglikelihood, strict=True)
        )


@dataclass(frozen=True, slots=True)
class DocMetrics:
    """Per-doc metrics of one task: one row per doc and filter."""

    doc_id: list[int]
    filter: list[str]
    metrics: dict[str, list[Any]]
    """By metric; a number, or what the source aggregates (such as a log-likelihood and a word count)."""
    filtered: list[str]
    """JSON of the filtered responses."""
    values: dict[str, list[float | None]]
    """For means over docs whose entries in `metrics` are not numbers: each doc's number, None for a doc that
    does not count."""
    likeliest: list[str] | None = None
    """JSON: the likeliest first tokens of the answer, as pairs of text and log-probability in nats;
    None where they are not asked for."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that is computed from one checkpoint's answers."""

    rows: list[dict[str, Any]]
    """One per task or group, metric and filter, the headline metric of each first; the keys of
    `types.metrics.Measurement` without the checkpoint's."""
    docs: dict[str, DocMetrics]
    tables: dict[str, Any]
    """Parts of the source's own results file, such as lm_eval's `results`, `groups` and `configs`."""
    missing: dict[str, int]
    """Tasks without metrics to their number of NaN requests; 0 where an exception is the reason."""
    reasons: list[MissingMetric]
    """Metrics with value None, except those of tasks with NaN requests."""

    @classmethod
    def join(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Return the evaluations of several sources as one."""
        return cls(
            rows=[row for part in parts for row in part.rows],
            docs={task: docs for part in parts for task, docs in part.docs.items()},
            tables={name: table for part in parts for name, table in part.tables.items()},
            missing={task: n for part in parts for task, n in part.missing.items()},
            reasons=[reason for part in parts for reason in part.reasons],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The JSON that a plan keeps about a source's tasks. Keys other than `source` are the source's own.

    Sources other than lm_eval give each task a `source` in `counting["tasks"]` and `tasks`.
    """

    counting: dict[str, dict[str, Any]]
    """`tasks` and `groups`, by name: everything besides prompts that decides a metric; names the plan."""
    configs: Any
    """Hash of everything that result files and tables show of tasks and groups; names the plan."""
    tasks: dict[str, dict[str, Any]]
    """Facts about each task for readers that do not import its source. `n_docs_in_data`: the docs of a full
    run, where a test asks fewer; `stored_answers`: `tokens` where scores hold no text (`token_answers`)."""


@dataclass(frozen=True, slots=True)
class PlannedDocs:
    """A task as its plan keeps it, for a source that computes metrics from that."""

    description: Mapping[str, Any]
    """The task's entry in `Description.tasks`."""
    columns: Callable[[], Mapping[str, Sequence[Any]]]
    """Returns the fields of `DocRecord` as columns, with a value per doc."""
    docs_id: str
    """Hash of the columns."""


class QuestionSet(Protocol):
    """The loaded tasks of one source."""

    def requests(self) -> Iterator[TaskRequests]:
        """Yield the requests of each task in turn.

        Raises:
            TaskError: the requests cannot be built.
        """
        ...

    def describe(self) -> Description:
        """Describe the tasks; called after `requests`."""
        ...

    def digest(self) -> str:
        """Return a hash of the task definitions, without settings and data; see `QuestionSource.check`."""
        ...

    def data_used(self) -> list[dict[str, Any]] | None:
        """Return references to the data sets, each with its `state`; None where a state is unknown."""
        ...

    def compute_metrics(
        self, responses: Mapping[str, Responses], planned: Mapping[str, PlannedDocs]
    ) -> Evaluation:
        """Compute the metrics of every task and group from a checkpoint's answers, both by task.

        Metrics that cannot be computed are rows with the value None and a reason.
        """
        ...

    def group_metrics(
        self, metrics: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
    ) -> dict[str, dict[str, Estimate]]:
        """Return the group means of metrics that the source does not know, weighted as it weighs its own.

        Args:
            metrics: by task and metric.
            sizes: docs of each task.
        """
        ...

    def group_picks(self, picks: Mapping[str, PickCounts]) -> dict[str, PickCounts]:
        """Return the picks of each group from those of its tasks."""
        ...

    def needs_main_thread(self) -> bool:
        """Return whether `compute_metrics` can run only in the main thread."""
        ...

    def find_difference(
        self, counting: Mapping[str, Any], doc_hashes: Mapping[str, Callable[[], list[str]]]
    ) -> str | None:
        """Name the first thing that has changed since a plan was made; None if nothing has.

        Args:
            counting: the source's part of the plan's `Description.counting`.
            doc_hashes: by task with comparable docs, a function that returns their hashes in the plan.
        """
        ...


class QuestionSource(Protocol):
    """A library of tasks."""

    name: str
    """`lm_eval`, `helm`"""

    def is_used(self, settings: TaskSettings) -> bool:
        """Return whether `settings` name tasks of this source."""
        ...

    def check(self, settings: TaskSettings) -> str:
        """Check names and task files before any work, and return `QuestionSet.digest` of what they define.

        Raises:
            TaskError: a task is unknown, or its definition is wrong.
        """
        ...

    def load(self, settings: TaskSettings, models: ModelTraits) -> QuestionSet:
        """Load the tasks; their data is read, or downloaded, now or when the requests are built.

        Raises:
            TaskError: the tasks cannot be loaded.
        """
        ...

    def user_tasks(self, names: Iterable[str]) -> list[str]:
        """Return the tasks in `names` that the user defines and the installed library does not, each once."""
        ...

    def data_state(self, ref: dict[str, Any]) -> str | None:
        """Return the current state of a data set of `QuestionSet.data_used`; None where it is unknown."""
        ...
