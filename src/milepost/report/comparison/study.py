"""What a comparison report is made from: the models, what changed, and docs that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from milepost.analysis.comparison import Comparison
from milepost.report.comparison.examples import Examples
from milepost.report.formatting import model_name
from milepost.result_types import ModelAnswers
from milepost.store.index import NewestRun
from milepost.types import Sparsity


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    """One of the models."""

    role: str
    """`original`, `pruned`, `pruned_2`, ...: what its file is named after."""
    answers: ModelAnswers
    sparsity: Sparsity | None
    """None where the weights could not be looked at."""
    without_sparsity: str = ""
    """Why they could not."""
    newest: NewestRun | None = None
    """What was asked, and with what."""

    @property
    def name(self) -> str:
        """Series and checkpoint; one of them where they are the same."""
        return model_name(self.answers.series, self.answers.checkpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Another model, against the original."""

    model: ReportedModel
    comparison: Comparison
    examples: Sequence[Examples]
    """For each compared task, docs lost and gained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An original and its variants."""

    original: ReportedModel
    variants: tuple[Variant, ...]

    @property
    def models(self) -> tuple[ReportedModel, ...]:
        return (self.original, *(variant.model for variant in self.variants))

    def label(self, model: ReportedModel) -> str:
        """A name that no other model of the study has."""
        names = [one.name for one in self.models]
        return model.name if names.count(model.name) == 1 else f"{model.name} ({model.role})"
