"""Compare two models metric by metric, over the docs that both answered.

Docs are matched by lm_eval's hash, so results with different limits, seeds or task versions are compared over
their common docs. A group is compared over all docs of its tasks, weighted as lm_eval weighs them.

Tests form three families, each with its own Holm's adjustment: the first metric of each task or outermost
group (the basis of the verdict), the first metric of each task inside a group, and the other metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from milepost.analysis.comparison_notes import comparison_notes
from milepost.analysis.matching import DocPair, MatchedModels, Uncompared
from milepost.analysis.metric_kinds import is_shown_beside_first
from milepost.analysis.verdicts import MetricDifference, Verdict, compare_family
from milepost.text.language import Phrase
from milepost.types.answers import GroupAnswers, ModelAnswers, TaskAnswers
from milepost.types.metrics import Measurement

PER_WORD_OR_TOKEN = frozenset(
    {"word_perplexity", "perplexity", "token_perplexity", "guide_perplexity", "loss"}
)
"""Metrics that are not compared between models with different tokenizers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Another model compared with the original."""

    tasks: tuple[MetricDifference, ...]
    """The main metrics of each task that is in no group, and of each outermost group: the first, and F1."""
    subjects: tuple[MetricDifference, ...]
    """The first metric of every task and group inside a group."""
    others: tuple[MetricDifference, ...]
    """The other metrics of `tasks`."""
    uncompared: tuple[Uncompared, ...]
    same_tokenizer: bool
    notes: tuple[str, ...]
    """Differences between the two evaluations."""

    def of(self, verdict: Verdict) -> list[str]:
        """Return the names of the tasks with this verdict; of a second main metric, with the metric."""
        return [name for name, difference in self.by_name.items() if difference.verdict == verdict]

    @property
    def by_name(self) -> dict[str, MetricDifference]:
        """The main metrics: the first of a task by the task's name, another by `squadv2 f1`."""
        found: dict[str, MetricDifference] = {}
        for each in self.tasks:
            name = each.task if each.task not in found else f"{each.task} {each.metric}"
            found[name if name not in found else f"{name} ({each.filter})"] = each
        return found

    def hurt_most(self, count: int = 10) -> list[MetricDifference]:
        """Return the tasks inside groups that lost most, the worst first; only tasks with a loss."""
        leaves = [subject for subject in self.subjects if subject.kind == "task" and subject.loss > 0]
        return sorted(leaves, key=lambda subject: -subject.loss)[:count]


def compare_models(original: ModelAnswers, other: ModelAnswers) -> Comparison:
    """Compare every metric that both models have.

    `Comparison.uncompared` lists what could not be compared; if nothing could, the other lists are empty.
    """
    return compare_matched(MatchedModels(original, other))


def compare_matched(matched: MatchedModels) -> Comparison:
    """Compare two models as `compare_models` does."""
    original, other = matched.original, matched.other
    same_tokenizer = not original.tokenizer_ids.isdisjoint(other.tokenizer_ids)
    families: dict[str, list[tuple[Measurement, DocPair]]] = {"tasks": [], "subjects": [], "others": []}
    uncompared = list(_only_in_one(original, other))
    shared = {name for name in (*original.tasks, *original.groups) if matched.has(name)}
    groups = {group.name for label, group in original.groups.items() if label in shared}
    for name, measurements in _measurements(original).items():
        if name not in shared:
            continue
        comparable = [
            measured
            for measured in measurements
            if same_tokenizer or measured.metric not in PER_WORD_OR_TOKEN
        ]
        for place, measured in enumerate(comparable):
            inside = not groups.isdisjoint(measured.parents)
            if inside and place:
                continue
            pair = matched.pair(measured)
            if isinstance(pair, Uncompared):
                uncompared.append(pair)
                continue
            is_main = place == 0 or is_shown_beside_first(measured.metric)
            family = "subjects" if inside else "tasks" if is_main else "others"
            families[family].append((measured, pair))
    return Comparison(
        **{family: tuple(compare_family(pairs)) for family, pairs in families.items()},
        uncompared=tuple(dict.fromkeys(uncompared)),
        same_tokenizer=same_tokenizer,
        notes=tuple(comparison_notes(matched, same_tokenizer=same_tokenizer)),
    )


def _measurements(model: ModelAnswers) -> dict[str, tuple[Measurement, ...]]:
    parts: Mapping[str, GroupAnswers | TaskAnswers] = {**model.groups, **model.tasks}
    return {label: part.measurements for label, part in parts.items()}


def _only_in_one(original: ModelAnswers, other: ModelAnswers) -> Iterator[Uncompared]:
    only_original = Phrase("only the original was evaluated on it")
    only_other = Phrase("only the other was evaluated on it")
    for reason, has, lacks in ((only_original, original, other), (only_other, other, original)):
        for name in (*has.groups, *has.tasks):
            if name not in lacks.groups and name not in lacks.tasks:
                yield Uncompared(name, reason)
