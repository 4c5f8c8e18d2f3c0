"""What changed from one model to another: figure by figure, over the docs that both answered.

Docs are matched by lm_eval's hash of them, so two results with different limits, seeds or task versions are
compared over what they have in common. A group is compared over all docs of its tasks, weighted as lm_eval
weighs them. Pure: reads no file, knows no chart.

Three families of tests, each with Holm's adjustment of its own: one figure for each task or outermost group
(what the verdict rests on); the same figure of each task inside a group; other metrics of the former.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from milepost.analysis.doc_values import DocValues, identity, read_values
from milepost.analysis.intervals import Interval
from milepost.analysis.matching import CommonDocs, common_docs
from milepost.analysis.paired import (
    ALPHA,
    Flips,
    Paired,
    compare_right,
    flips,
    holm,
    paired_means,
)
from milepost.store.doc_records import GroupAnswers, ModelAnswers, TaskAnswers
from milepost.types import Measurement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Verdict = Literal["worse", "not distinguishable", "better", "different", "too few docs to tell"]
"""`different` is said where the metric has no better and worse, `too few docs to tell` where no difference,
however large, could be shown by so few docs among so many tests."""
Test = Literal["exact McNemar", "paired t"]
"""`paired t` is Student's with Hall's correction for skewness (`mean_test`), or for right-or-wrong answers of
tasks that count alike the same with Bonett and Price's error."""

PER_WORD_OR_TOKEN = frozenset(
    {"word_perplexity", "perplexity", "token_perplexity", "guide_perplexity", "loss"}
)
"""What is not compared between models with different tokenizers."""


class DocCount(NamedTuple):
    """Docs behind a comparison."""

    common: int
    original: int
    other: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDifference:
    """One figure of two models, over their common docs."""

    task: str
    alias: str
    kind: Literal["task", "group"]
    parents: tuple[str, ...]
    metric: str
    filter: str
    higher_is_better: bool | None
    chance: float | None
    original: float
    other: float
    difference: float
    """other - original, in the metric's unit."""
    interval: Interval
    """95 % interval of the difference."""
    test: Test
    p_value: float
    p_adjusted: float
    """Holm's, over the figures it stands with."""
    verdict: Verdict
    smallest: float
    """The smallest difference that these docs show in four of five such samples, Holm's adjustment over its
    family included; infinite where they can show none."""
    docs: DocCount
    flips: Flips | None
    """Docs right for one model and wrong for the other; None where a doc is more than right or wrong."""

    @property
    def relative(self) -> float | None:
        """The difference as a share of the original; None where that is 0."""
        return self.difference / abs(self.original) if self.original else None

    @property
    def loss(self) -> float:
        """How much worse the other model is, in the metric's unit; negative where it is better."""
        return self.difference if self.higher_is_better is False else -self.difference


class Uncompared(NamedTuple):
    """A task (or one figure of it) that could not be compared, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Another model against the original."""

    tasks: tuple[MetricDifference, ...]
    """The first figure of each task that is in no group, and of each outermost group."""
    subjects: tuple[MetricDifference, ...]
    """The first figure of everything inside the groups."""
    others: tuple[MetricDifference, ...]
    """The other metrics of `tasks`."""
    uncompared: tuple[Uncompared, ...]
    same_tokenizer: bool
    notes: tuple[str, ...]
    """What differs in how the two were asked."""

    def of(self, verdict: Verdict) -> list[str]:
        """Names of the tasks with this verdict."""
        return [one.task for one in self.tasks if one.verdict == verdict]

    def hurt_most(self, count: int = 10) -> list[MetricDifference]:
        """The tasks inside groups that lost most, the worst first; only those that did lose."""
        leaves = [one for one in self.subjects if one.kind == "task" and one.loss > 0]
        return sorted(leaves, key=lambda one: -one.loss)[:count]


def compare_models(original: ModelAnswers, other: ModelAnswers) -> Comparison:
    """Compare every figure that both models have.

    What cannot be compared is named in `Comparison.uncompared`; if that is everything, the lists are empty.
    """
    same_tokenizer = not original.tokenizer_ids.isdisjoint(other.tokenizer_ids)
    matched = _Matched(original, other)
    found: dict[str, list[tuple[Measurement, _Pair]]] = {"tasks": [], "subjects": [], "others": []}
    uncompared = list(_only_in_one(original, other))
    shared = {name for name in (*original.tasks, *original.groups) if matched.has(name)}
    for name, figures in _figures(original).items():
        if name not in shared:
            continue
        figures = [one for one in figures if same_tokenizer or one.metric not in PER_WORD_OR_TOKEN]
        for place, figure in enumerate(figures):
            inside = not shared.isdisjoint(figure.parents)
            if inside and place:
                continue
            pair = matched.pair(figure)
            if isinstance(pair, Uncompared):
                uncompared.append(pair)
                continue
            family = "others" if place else "subjects" if inside else "tasks"
            found[family].append((figure, pair))
    return Comparison(
        **{family: tuple(_compare_family(pairs)) for family, pairs in found.items()},
        uncompared=tuple(dict.fromkeys(uncompared)),
        same_tokenizer=same_tokenizer,
        notes=tuple(_notes(original, other, matched, same_tokenizer)),
    )


def _figures(model: ModelAnswers) -> dict[str, list[Measurement]]:
    parts: list[GroupAnswers | TaskAnswers] = [*model.groups.values(), *model.tasks.values()]
    return {part.name: list(part.measurements) for part in parts}


# ---- the docs of a figure ------------------------------------------------------------------------------


class _Pair(NamedTuple):
    """What the common docs contribute to one figure of both models, doc by doc."""

    original: DocValues
    other: DocValues
    strata: npt.NDArray[np.int64] | None
    docs: DocCount
    in_percent: bool = False
    """Whether a right doc counts 100, as in squadv2: of docs that are all wrong the values do not say it."""


class _Matched:
    """The common docs of each task, found once.

    A group's tasks are taken as its own figure has them: one of them may have been asked anew since, alone
    and with other docs.
    """

    def __init__(self, original: ModelAnswers, other: ModelAnswers) -> None:
        self._original, self._other = original, other
        self.docs: dict[str, CommonDocs] = {
            name: common_docs(task.doc_hashes, other.tasks[name].doc_hashes)
            for name, task in original.tasks.items()
            if name in other.tasks
        }

    def has(self, name: str) -> bool:
        return name in self.docs or (name in self._original.groups and name in self._other.groups)

    def pair(self, figure: Measurement) -> _Pair | Uncompared:
        """The aligned values behind a figure of the original, or why there are none."""
        if figure.kind == "task":
            tasks = self._original.tasks[figure.task], self._other.tasks[figure.task]
            return self._of_task(*tasks, figure.metric, figure.filter)
        return self._of_group(self._original.groups[figure.task], figure)

    def _common(self, original: TaskAnswers, other: TaskAnswers) -> CommonDocs:
        name = original.name
        if original is self._original.tasks.get(name) and other is self._other.tasks.get(name):
            return self.docs[name]
        return common_docs(original.doc_hashes, other.doc_hashes)

    def _of_task(
        self, original: TaskAnswers, other: TaskAnswers, metric: str, filter: str
    ) -> _Pair | Uncompared:
        import numpy as np

        name = original.name
        label = _label(name, metric, filter)
        common = self._common(original, other)
        count = DocCount(len(common.original), len(original.doc_hashes), len(other.doc_hashes))
        if not count.common:
            return Uncompared(name, f"no doc in common ({count.original} and {count.other} docs)")
        before, after = (_doc_values(task, metric, filter) for task in (original, other))
        for values in (before, after):
            if isinstance(values, str):
                return Uncompared(label, values)
        assert isinstance(before, DocValues)
        assert isinstance(after, DocValues)
        if before.transform is not after.transform:
            return Uncompared(label, "the two results count it differently")
        before, after = before.of(common.original), after.of(common.other)
        counts = ~(np.isnan(before.values) | np.isnan(after.values))
        if not counts.any():
            return Uncompared(label, "no doc in common counts in it")
        if not np.allclose(before.weights[counts], after.weights[counts]):
            return Uncompared(label, "the two results weigh the same docs differently")
        places = np.flatnonzero(counts)
        in_percent = any(one.metric == "HasAns_exact" for one in original.measurements)
        docs = count._replace(common=len(places))
        return _Pair(before.of(places), after.of(places), None, docs, in_percent)

    def _of_group(self, group: GroupAnswers, figure: Measurement) -> _Pair | Uncompared:
        import numpy as np

        label = _label(figure.task, figure.metric, figure.filter)
        theirs = self._other.members(figure.task)
        members = [
            self._of_task(task, theirs[name], figure.metric, figure.filter)
            for name, task in self._original.members(figure.task).items()
            if name in theirs
        ]
        parts = [part for part in members if isinstance(part, _Pair)]
        if not parts:
            return Uncompared(label, "none of its tasks could be compared")
        if len(parts) < len(group.tasks):
            return Uncompared(label, f"only {len(parts)} of its {len(group.tasks)} tasks could be compared")
        if not all(part.original.is_mean for part in parts):
            return Uncompared(label, "it is not a mean over docs")
        by_size = group.by_size.get(figure.metric, True)
        weights = np.concatenate(
            [np.full(part.docs.common, 1.0 if by_size else 1.0 / part.docs.common) for part in parts]
        )
        before = np.concatenate([part.original.values for part in parts])
        after = np.concatenate([part.other.values for part in parts])
        strata = np.repeat(np.arange(len(parts)), [part.docs.common for part in parts])
        counts = DocCount(*(sum(part.docs[i] for part in parts) for i in range(3)))
        return _Pair(
            DocValues(before, weights, identity),
            DocValues(after, weights, identity),
            None if np.ptp(weights) == 0 else strata,
            counts,
        )


def _doc_values(task: TaskAnswers, metric: str, filter: str) -> DocValues | str:
    """What a task's docs contribute to a figure, or why that cannot be said."""
    stored = next(
        (one.value for one in task.measurements if (one.metric, one.filter) == (metric, filter)), None
    )
    if stored is None:
        return "one of the models has no figure of it"
    raw = task.values.get((metric, filter))
    values = read_values(raw, stored) if raw is not None else None
    return (
        values if values is not None else "it is not a mean over these docs, so there is no paired test of it"
    )


# ---- tests and verdicts --------------------------------------------------------------------------------


def _compare_family(pairs: Sequence[tuple[Measurement, _Pair]]) -> Iterable[MetricDifference]:
    """Figures that share Holm's adjustment."""
    compared = [_compare(figure, pair, ALPHA / len(pairs)) for figure, pair in pairs]
    adjusted = holm([one.p_value for one in compared])
    for one, p in zip(compared, adjusted, strict=True):
        yield replace(one, p_adjusted=p, verdict=_verdict(one, p))


def _compare(figure: Measurement, pair: _Pair, alpha: float) -> MetricDifference:
    test, paired, changed = _test(pair, alpha)
    before, after = pair.original.total(), pair.other.total()
    return MetricDifference(
        task=figure.task,
        alias=figure.alias,
        kind=figure.kind,
        parents=figure.parents,
        metric=figure.metric,
        filter=figure.filter,
        higher_is_better=figure.higher_is_better,
        chance=figure.chance,
        original=before,
        other=after,
        difference=paired.difference,
        interval=paired.interval,
        test=test,
        p_value=paired.p_value,
        p_adjusted=paired.p_value,
        verdict="not distinguishable",
        smallest=paired.smallest,
        docs=pair.docs,
        flips=changed,
    )


def _test(pair: _Pair, alpha: float) -> tuple[Test, Paired, Flips | None]:
    """McNemar where each doc is right or wrong and counts the same, else the test of means.

    Args:
        alpha: level at which the smallest difference is to be seen.
    """
    top = _right_is(pair)
    changed = None
    if top is not None:
        before, after = pair.original.values == top, pair.other.values == top
        changed = flips(before, after)
        if pair.strata is None:
            return "exact McNemar", _scaled(compare_right(before, after, alpha=alpha), top), changed
    by = top or 1.0
    found = paired_means(
        pair.original.values / by,
        pair.other.values / by,
        weights=pair.original.weights,
        strata=pair.strata,
        transform=pair.original.transform,
        alpha=alpha,
    )
    return "paired t", _scaled(found, by), changed


def _right_is(pair: _Pair) -> float | None:
    """What a right doc counts (1, or 100 per cent), if docs are right or wrong and nothing between."""
    import numpy as np

    if not pair.original.is_mean:
        return None
    both = np.concatenate([pair.original.values, pair.other.values])
    if not both.any():
        return 100.0 if pair.in_percent else 1.0
    return next((top for top in (1.0, 100.0) if bool(np.isin(both, (0.0, top)).all())), None)


def _scaled(paired: Paired, by: float) -> Paired:
    ends = [None if end is None else end * by for end in paired.interval]
    return Paired(paired.difference * by, Interval(*ends), paired.p_value, paired.smallest * by)


def _verdict(one: MetricDifference, p: float) -> Verdict:
    if p >= ALPHA:
        return "not distinguishable" if math.isfinite(one.smallest) else "too few docs to tell"
    if one.higher_is_better is None:
        return "different"
    return "worse" if one.loss > 0 else "better"


# ---- what the reader must know -------------------------------------------------------------------------


def _only_in_one(original: ModelAnswers, other: ModelAnswers) -> Iterable[Uncompared]:
    for whose, here, there in (("original", original, other), ("other", other, original)):
        for name in (*here.groups, *here.tasks):
            if name not in there.groups and name not in there.tasks:
                yield Uncompared(name, f"only the {whose} was asked")


def _notes(
    original: ModelAnswers, other: ModelAnswers, matched: _Matched, same_tokenizer: bool
) -> Iterable[str]:
    if not same_tokenizer:
        yield (
            "the models have different tokenizers: tasks are compared by docs, "
            "perplexities only per byte (byte_perplexity, bits_per_byte)"
        )
    if original.model_id == other.model_id:
        yield "both are the same weights"
    dtypes = [model.numerics.split("-")[0] for model in (original, other)]
    if dtypes[0] != dtypes[1]:
        yield f"computed in {dtypes[0]} and in {dtypes[1]}"
    for name, common in matched.docs.items():
        for difference in _differences(original.tasks[name], other.tasks[name], common):
            yield f"{name}: {difference}"


def _differences(original: TaskAnswers, other: TaskAnswers, common: CommonDocs) -> Iterable[str]:
    """In how a task was asked."""
    if original.version != other.version:
        yield f"version {original.version} of the task against version {other.version}"
    if original.num_fewshot != other.num_fewshot:
        yield f"{original.num_fewshot}-shot against {other.num_fewshot}-shot"
    for key in sorted({*original.generation, *other.generation}):
        asked = [_asked(task.generation, key) for task in (original, other)]
        if asked[0] != asked[1]:
            yield f"texts with {key} {asked[0]} against {asked[1]}"
    sizes, n = (len(original.doc_hashes), len(other.doc_hashes)), len(common.original)
    if n and (sizes != (n, n) or original.version != other.version):
        yield f"{n} docs in common of {sizes[0]} and {sizes[1]}"
    reworded = sum(
        original.prompt_hashes[i] != other.prompt_hashes[j]
        for i, j in zip(common.original, common.other, strict=True)
    )
    if reworded:
        yield f"{reworded} of the {n} docs in common with other prompts"


def _asked(generation: Mapping[str, Any], key: str) -> str:
    return json.dumps(generation[key], ensure_ascii=False) if key in generation else "not set"


def _label(task: str, metric: str, filter: str) -> str:
    return f"{task} {metric}" if filter == "none" else f"{task} {metric} ({filter})"
