"""A figure as a mean over docs: the only place that knows how docs' stored values become a figure.

What lm_eval aggregates need not be in the figure's unit, nor better in the same direction: the docs of a
perplexity have log-likelihoods, of which more is better, where less perplexity is. `show`, `watch`, `signal`,
`compare` and the leaderboard all read docs through here, so that none of them can be told another story.

Which mean a metric is (of numbers, of log-likelihoods per word, ...) is not taken on trust from its name:
that reading of the stored values is taken which gives the figure that lm_eval computed from them. Where none
does (a corpus BLEU, a Matthews correlation), the figure is no mean over docs, and has no paired test here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

Transform = Callable[[Any], Any]
"""From a mean over docs to the figure that is reported; monotone; works on arrays."""

_AGREES = 1e-6
"""Relative difference up to which a reading gives lm_eval's own figure."""


def identity(mean: Any) -> Any:
    """The mean itself, as the figure that is reported."""
    return mean


def perplexity(nats: Any) -> Any:
    """exp(-x) of a mean log-likelihood in nats (lm_eval/api/metrics.py `perplexity`)."""
    import numpy as np

    return np.exp(-nats)


def exponential(nats: Any) -> Any:
    """exp(x) of a mean loss in nats, for own metrics that keep the loss of each doc."""
    import numpy as np

    return np.exp(nats)


def bits(nats: Any) -> Any:
    """A mean log-likelihood in nats as bits (lm_eval/api/metrics.py `bits_per_byte`)."""
    return -nats / math.log(2)


def loss(nats: Any) -> Any:
    """A mean log-likelihood as the loss of training logs, in nats."""
    return -nats


def percent(share: Any) -> Any:
    """A mean share as a percentage."""
    return 100 * share


def complement(share: Any) -> Any:
    """A mean share of right answers as one of errors."""
    return 1 - share


_OF_NUMBERS: tuple[Transform, ...] = (identity, perplexity, loss, exponential, bits, percent, complement)
_OF_PAIRS: tuple[Transform, ...] = (perplexity, bits, loss)
FALLING = frozenset({perplexity, bits, loss, complement})
"""Figures that get smaller as the mean over docs grows."""
EXPONENTIAL = frozenset({perplexity, exponential})
"""Figures of which equal ratios mean equal progress: they are tested and compared as logarithms."""


@dataclass(frozen=True, slots=True)
class DocValues:
    """One figure of one model: `figure(sum(weights * values) / sum(weights))` over the docs that count.

    Tests and intervals are made of `values`, and come back to the figure's own unit by `figure`.
    """

    values: Values
    """[D] NaN for docs that do not count."""
    weights: Values
    """[D] positive; words or bytes for perplexities, else 1."""
    transform: Transform

    @property
    def is_mean(self) -> bool:
        """Whether the figure is the mean itself."""
        return self.transform is identity

    def of(self, docs: npt.NDArray[np.int64]) -> DocValues:
        """Those of the docs at these places, in that order."""
        return DocValues(self.values[docs], self.weights[docs], self.transform)

    def total(self) -> float:
        """The figure over all docs that count; at least one does."""
        import numpy as np

        counts = ~np.isnan(self.values)
        return float(self.transform(np.average(self.values[counts], weights=self.weights[counts])))


def is_mean_better_higher(transform: Transform, *, higher_is_better: bool) -> bool:
    """Whether a higher mean over docs is better, for a figure that is better in the direction given."""
    return higher_is_better != (transform in FALLING)


def read_values(raw: Sequence[Any], stored: float) -> DocValues | None:
    """The reading of the docs' stored values that gives the figure `stored`; None where none does.

    Args:
        raw: [D] what the store keeps of each doc: a number, a pair [log-likelihood, words or bytes], or None
            where the doc does not count.
    """
    found = read_curve([raw], [stored])
    return None if found is None else found[0]


def read_curve(raw: Sequence[Sequence[Any]], stored: Sequence[float]) -> list[DocValues] | None:
    """The reading that gives every figure of a curve; None where no single one does.

    Args:
        raw: [S] of [D], as of `read_values`.
        stored: [S] figures.
    """
    parsed = [_parse(one) for one in raw]
    known = [one for one in parsed if one is not None]
    if not known or len(known) < len(parsed):
        return None
    are_pairs = known[0][2]
    if any(one[2] != are_pairs for one in known):
        return None
    for figure in _OF_PAIRS if are_pairs else _OF_NUMBERS:
        read = [DocValues(values, weights, figure) for values, weights, _ in known]
        if all(_gives(one, value) for one, value in zip(read, stored, strict=True)):
            return read
    return None


def as_numbers(raw: Sequence[Any]) -> Values | None:
    """[D] docs' values that are plain numbers, NaN where a doc does not count; None where they are not."""
    parsed = _parse(raw)
    return None if parsed is None or parsed[2] else parsed[0]


def _gives(values: DocValues, stored: float) -> bool:
    import numpy as np

    with np.errstate(over="ignore"):
        total = values.total()
    # Some values are stored as float32: their mean is as exact as they are large, not as it is itself.
    of_docs = (
        0.0 if values.transform in EXPONENTIAL else float(np.nanmean(np.abs(values.transform(values.values))))
    )
    return math.isclose(total, stored, rel_tol=_AGREES, abs_tol=max(1e-12, _AGREES * of_docs))


def _parse(raw: Sequence[Any]) -> tuple[Values, Values, bool] | None:
    """[D] values, [D] weights and whether they were pairs; None where they are neither numbers nor pairs."""
    import numpy as np

    if isinstance(raw, np.ndarray):
        values = raw.astype(np.float64)
        return (values, np.ones(len(values)), False) if np.isfinite(values).any() else None
    counting = [value for value in raw if value is not None]
    if not counting:
        return None
    if all(_is_pair(value) for value in counting):
        pairs = np.array([(math.nan, 1.0) if value is None else value for value in raw], dtype=np.float64)
        if not (pairs[:, 1] > 0).all():
            return None
        return pairs[:, 0] / pairs[:, 1], pairs[:, 1], True
    if not all(isinstance(value, int | float) for value in counting):
        return None
    values = np.array([math.nan if value is None else float(value) for value in raw])
    return (values, np.ones(len(raw)), False) if np.isfinite(values).any() else None


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value)
