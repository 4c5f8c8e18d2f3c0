"""Metrics of tasks at checkpoints, with the settings in which the tasks were asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from milepost.text.language import joined


class Asked(NamedTuple):
    """The settings of a task that the user chose; metrics of different ones stand side by side."""

    num_fewshot: int | None = None
    limit: float | None = None
    """`--limit`: a number of docs, or a share below 1."""
    dtype: str | None = None
    """None unless a checkpoint was measured on the same prompts in several dtypes."""
    others: str = ""
    """Every other option that is not at its default: `apply_chat_template=true gen_kwargs=temperature=0`."""
    edition: int = 0
    """0 for the newest prompts and metrics under these settings; 1, 2, ... for earlier ones, such as those
    from before a task file was edited."""


AS_USUAL = Asked()
"""The settings where the user chose nothing, or they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The value of one metric of a task (or group) at one checkpoint, as lm_eval computes it."""

    series: str
    checkpoint: str
    step: int | None
    task: str
    metric: str
    filter: str
    value: float | None
    """None if it could not be computed, for example because of NaN logits."""
    stderr: float | None
    n: int
    """Number of docs."""
    chance: float | None
    """Value of a model that guesses; None if the metric has no such level."""
    higher_is_better: bool | None
    kind: Literal["task", "group"]
    alias: str
    """Short display name."""
    parents: tuple[str, ...]
    """Groups that contain the task or group, outermost first."""
    num_fewshot: int | None
    constant: tuple[float, float] | None = None
    """Lowest and highest accuracy of always answering with the same position (A … D); None unless the metric
    is an accuracy of multiple choice."""
    fixed_choices: bool = False
    """True if every doc has the same choices (A to D), so that a model can have a favourite."""
    reason: str | None = None
    """Why the value is missing."""
    doc_range: tuple[float, float] | None = None
    """Lowest and highest value of the docs, if the metric is their mean; else None."""
    dtype: str | None = None
    """Dtype of the computation, such as `float32`."""
    asked: Asked = AS_USUAL
    """The settings that the user chose."""
    variant: str = ""
    """Label of its settings where the same task was asked in others too (`5-shot`); else empty."""

    @property
    def label(self) -> str:
        """The task as it was asked: its name, with the variant where it was asked in several settings."""
        return joined(" ", (self.task, self.variant)) if self.variant else self.task


@dataclass(frozen=True, slots=True)
class MissingMetric:
    """A metric that could not be computed, and why."""

    task: str
    """Name of the task or group."""
    metric: str | None
    """None for all metrics."""
    filter: str | None
    """None for all filters."""
    reason: str
    kind: str = "raised"
    """`raised`: an exception, so another try may succeed (a package is installed, a file is mended);
    `number`: the result is NaN or too large; `expected`: not a fault, such as a mean over zero docs."""

    def concerns(self, metric: str, filter: str) -> bool:
        """Return whether this is the reason for a metric and filter of its task."""
        return self.metric in (None, metric) and self.filter in (None, filter)


class Estimate(NamedTuple):
    """A metric's value with its uncertainty, without task and checkpoint."""

    value: float | None
    """None if the model gave no number."""
    stderr: float | None
    n: int
    """Number of docs."""
    chance: float | None
    """Value of a model that guesses; None if the metric has no such level."""
