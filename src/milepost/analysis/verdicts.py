"""Test the difference of each metric between two models, and say worse, better or not distinguishable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from milepost.analysis.intervals import Interval
from milepost.analysis.matching import DocCount, DocPair
from milepost.analysis.paired import ALPHA, Flips, Paired, compare_right, flips, holm, paired_means
from milepost.types.metrics import Measurement

Verdict = Literal["worse", "not distinguishable", "better", "different", "too few docs to tell"]
"""`different`: the metric has no direction. `too few docs to tell`: so few docs among so many tests could not
show any difference, however large."""
Test = Literal["exact McNemar", "paired t"]
"""`paired t` is Student's with Hall's correction for skewness (`mean_differences`); for right-or-wrong
answers of tasks that count the same it has Bonett and Price's standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDifference:
    """One metric of two models over their common docs."""

    task: str
    """As it was asked; see `Measurement.label`."""
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
    """Holm's adjustment over the metrics of its family."""
    verdict: Verdict
    smallest: float
    """The smallest difference that such docs show in four of five samples, with Holm's adjustment over its
    family; infinite if they cannot show any."""
    docs: DocCount
    in_percent: bool
    """True if a right doc counts 100, as in squadv2."""
    flips: Flips | None
    """Docs right for one model and wrong for the other; None unless docs are right or wrong."""

    @property
    def relative(self) -> float | None:
        """The difference as a share of the original; None if that is 0."""
        return self.difference / abs(self.original) if self.original else None

    @property
    def loss(self) -> float:
        """Difference towards worse, in the metric's unit; negative if the other model is better."""
        return self.difference if self.higher_is_better is False else -self.difference


def compare_family(pairs: Sequence[tuple[Measurement, DocPair]]) -> Iterator[MetricDifference]:
    """Compare the metrics of one family, which share Holm's adjustment."""
    differences = [_compare(measured, pair, ALPHA / len(pairs)) for measured, pair in pairs]
    adjusted = holm([difference.p_value for difference in differences])
    for difference, p in zip(differences, adjusted, strict=True):
        yield replace(difference, p_adjusted=p, verdict=_verdict(difference, p))


def _compare(measured: Measurement, pair: DocPair, alpha: float) -> MetricDifference:
    test, paired, changed = _test(pair, alpha)
    return MetricDifference(
        task=measured.label,
        alias=measured.alias,
        kind=measured.kind,
        parents=measured.parents,
        metric=measured.metric,
        filter=measured.filter,
        higher_is_better=measured.higher_is_better,
        chance=measured.chance,
        original=pair.original.total(),
        other=pair.other.total(),
        difference=paired.difference,
        interval=paired.interval,
        test=test,
        p_value=paired.p_value,
        p_adjusted=paired.p_value,
        verdict="not distinguishable",
        smallest=paired.smallest,
        docs=pair.docs,
        in_percent=pair.in_percent,
        flips=changed,
    )


def _test(pair: DocPair, alpha: float) -> tuple[Test, Paired, Flips | None]:
    """Test by McNemar if each doc is right or wrong and counts the same, else by the test of means.

    Args:
        alpha: level for the smallest visible difference.
    """
    top = _value_of_right(pair)
    changed = None
    if top is not None:
        before, after = pair.original.values == top, pair.other.values == top
        changed = flips(before, after)
        if pair.strata is None:
            return "exact McNemar", _scaled(compare_right(before, after, alpha=alpha), top), changed
    unit = top or 1.0
    paired = paired_means(
        pair.original.values / unit,
        pair.other.values / unit,
        weights=pair.original.weights,
        strata=pair.strata,
        transform=pair.original.transform,
        alpha=alpha,
    )
    return "paired t", _scaled(paired, unit), changed


def _value_of_right(pair: DocPair) -> float | None:
    """Return the value of a right doc (1, or 100 per cent) if docs are only right or wrong; else None."""
    import numpy as np

    if not pair.original.is_mean:
        return None
    both = np.concatenate([pair.original.values, pair.other.values])
    if not both.any():
        return 100.0 if pair.in_percent else 1.0
    return next((top for top in (1.0, 100.0) if bool(np.isin(both, (0.0, top)).all())), None)


def _scaled(paired: Paired, unit: float) -> Paired:
    ends = [None if end is None else end * unit for end in paired.interval]
    return Paired(paired.difference * unit, Interval(*ends), paired.p_value, paired.smallest * unit)


def _verdict(difference: MetricDifference, p: float) -> Verdict:
    if p >= ALPHA:
        return "not distinguishable" if math.isfinite(difference.smallest) else "too few docs to tell"
    if difference.higher_is_better is None:
        return "different"
    return "worse" if difference.loss > 0 else "better"
