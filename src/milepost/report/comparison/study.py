"""The input of a comparison report: the models, what changed, and docs that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from milepost.analysis.common_labels import with_common_labels
from milepost.analysis.comparison import Comparison, compare_matched
from milepost.analysis.matching import MatchedModels
from milepost.errors import ResultsError
from milepost.report.comparison.examples import Examples, find_examples
from milepost.report.formatting import model_name
from milepost.store.index import NewestRun
from milepost.text.language import Phrase
from milepost.types.answers import ModelAnswers
from milepost.types.sparsity import Sparsity


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    """A model and what is known of it."""

    role: str
    """`original`, `pruned`, `pruned_2`, ...: what its file is named after."""
    answers: ModelAnswers
    sparsity: Sparsity | None
    """None where the weights could not be read."""
    without_sparsity: str = ""
    """The reason why they could not be read."""
    newest: NewestRun | None = None
    """The newest run and its plan."""

    @property
    def name(self) -> str:
        """Series and checkpoint, or one of them where they are equal."""
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
        """Return a name that no other model of the study has."""
        names = [each.name for each in self.models]
        return model.name if names.count(model.name) == 1 else f"{model.name} ({model.role})"


def make_study(models: Sequence[ReportedModel], examples: int) -> Study | None:
    """Compare the first model with each of the others; None unless there is an original and another.

    Args:
        examples: docs lost, and gained, to show of each task.

    Raises:
        ResultsError: two models have no doc in common.
    """
    if len(models) < 2 or models[0].role != "original":
        return None
    answers = with_common_labels([model.answers for model in models])
    models = [replace(model, answers=own) for model, own in zip(models, answers, strict=True)]
    first, variants = models[0], []
    for model in models[1:]:
        matched = MatchedModels(first.answers, model.answers)
        comparison = compare_matched(matched)
        if not (comparison.tasks or comparison.subjects or comparison.others):
            reasons = "; ".join(f"{what}: {reason}" for what, reason in comparison.uncompared[:3])
            raise ResultsError(
                Phrase(
                    "{original} and {other} have nothing in common to compare ({reasons})",
                    original=first.role,
                    other=model.role,
                    reasons=reasons,
                ),
                "run both on the same tasks, with limits that overlap",
            )
        shown = [find_examples(matched, task, examples) for task in comparison.tasks]
        variants.append(Variant(model=model, comparison=comparison, examples=shown))
    return Study(original=first, variants=tuple(variants))
