"""Interpret the stored values of docs: how a metric is computed as a mean over them.

The values that lm_eval aggregates may have another unit and direction than the metric: the docs of a
perplexity have log-likelihoods, where higher is better, but a lower perplexity is better. `show`, `watch`,
`signal`, `compare` and the leaderboard all read docs through this module, so that they agree.

The name of a metric does not decide how it is computed (mean of numbers, of log-likelihoods per word, ...).
Each interpretation of the stored values is tried, and the one that gives lm_eval's own value is used. If none
does (corpus BLEU, Matthews correlation), the metric is not a mean over docs and has no paired test here.
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
"""Monotone function from a mean over docs to the reported metric; works on arrays."""

_AGREES = 1e-6
"""Largest relative difference from lm_eval's own value."""


def identity(mean: Any) -> Any:
    """Return the mean itself as the metric."""
    return mean


def perplexity(nats: Any) -> Any:
    """Return exp(-x) of a mean log-likelihood in nats (lm_eval/api/metrics.py `perplexity`)."""
    import numpy as np

    return np.exp(-nats)


def exponential(nats: Any) -> Any:
    """Return exp(x) of a mean loss in nats, for users' metrics that keep the loss of each doc."""
    import numpy as np

    return np.exp(nats)


def bits(nats: Any) -> Any:
    """Convert a mean log-likelihood in nats to bits (lm_eval/api/metrics.py `bits_per_byte`)."""
    return -nats / math.log(2)


def loss(nats: Any) -> Any:
    """Convert a mean log-likelihood to the loss of training logs, in nats."""
    return -nats


def percent(share: Any) -> Any:
    """Convert a mean share to a percentage."""
    return 100 * share


def complement(share: Any) -> Any:
    """Convert a mean share of right answers to a share of errors."""
    return 1 - share


_OF_NUMBERS: tuple[Transform, ...] = (identity, perplexity, loss, exponential, bits, percent, complement)
_OF_PAIRS: tuple[Transform, ...] = (perplexity, bits, loss)
FALLING = frozenset({perplexity, bits, loss, complement})
"""Transforms that decrease as the mean over docs grows."""
EXPONENTIAL = frozenset({perplexity, exponential})
"""Transforms whose results are compared as logarithms, because equal ratios mean equal progress."""


@dataclass(frozen=True, slots=True)
class DocValues:
    """The docs of one metric of one model: `transform(sum(weights * values) / sum(weights))`.

    Tests and intervals are computed on `values` and converted to the metric's unit by `transform`.
    """

    values: Values
    """[D] values; NaN for docs that do not count."""
    weights: Values
    """[D] positive weights: words or bytes for perplexities, else 1."""
    transform: Transform

    @property
    def is_mean(self) -> bool:
        """True if the metric is the mean itself."""
        return self.transform is identity

    def of(self, docs: npt.NDArray[np.int64]) -> DocValues:
        """Return the docs at these places, in that order."""
        return DocValues(self.values[docs], self.weights[docs], self.transform)

    def total(self) -> float:
        """Return the metric over all docs that count; at least one must."""
        import numpy as np

        counts = ~np.isnan(self.values)
        return float(self.transform(np.average(self.values[counts], weights=self.weights[counts])))


def is_mean_better_higher(transform: Transform, *, higher_is_better: bool) -> bool:
    """Return whether a higher mean over docs is better, if the metric is better in the given direction."""
    return higher_is_better != (transform in FALLING)


def read_values(raw: Sequence[Any], stored: float) -> DocValues | None:
    """Interpret the docs' stored values so that they give the metric `stored`; None if that is impossible.

    Args:
        raw: [D] stored value of each doc: a number, a pair [log-likelihood, words or bytes], or None if the
            doc does not count.
    """
    found = read_curve([raw], [stored])
    return None if found is None else found[0]


def read_curve(raw: Sequence[Sequence[Any]], stored: Sequence[float]) -> list[DocValues] | None:
    """Interpret the docs of a curve in one way that gives all its values; None if that is impossible.

    Args:
        raw: [S] of [D], as in `read_values`.
        stored: [S] values of the metric.
    """
    parsed = [_parse(docs) for docs in raw]
    known = [docs for docs in parsed if docs is not None]
    if not known or len(known) < len(parsed):
        return None
    are_pairs = known[0][2]
    if any(docs[2] != are_pairs for docs in known):
        return None
    for transform in _OF_PAIRS if are_pairs else _OF_NUMBERS:
        read = [DocValues(values, weights, transform) for values, weights, _ in known]
        if all(_gives(docs, value) for docs, value in zip(read, stored, strict=True)):
            return read
    return None


def as_numbers(raw: Sequence[Any]) -> Values | None:
    """Return [D] the docs' values, NaN where a doc does not count; None if they are not plain numbers."""
    parsed = _parse(raw)
    return None if parsed is None or parsed[2] else parsed[0]


def _gives(values: DocValues, stored: float) -> bool:
    import numpy as np

    with np.errstate(over="ignore"):
        total = values.total()
    # Values may be stored as float32, so the error of their mean depends on their size, not on the mean's.
    of_docs = (
        0.0 if values.transform in EXPONENTIAL else float(np.nanmean(np.abs(values.transform(values.values))))
    )
    return math.isclose(total, stored, rel_tol=_AGREES, abs_tol=max(1e-12, _AGREES * of_docs))


def _parse(raw: Sequence[Any]) -> tuple[Values, Values, bool] | None:
    """Return [D] values, [D] weights and True for pairs; None for neither numbers nor pairs."""
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
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(item, int | float) for item in value)
    )
