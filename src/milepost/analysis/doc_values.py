"""A figure as a mean over docs: what each doc contributes, and with which weight.

Which mean a metric is (of numbers, of log-likelihoods per word, ...) is not taken on trust from its name:
that reading of the stored values is taken which gives the figure that lm_eval computed from them. Where none
does (a corpus BLEU, a Matthews correlation), the figure is no mean over docs, and has no paired test here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milepost.analysis.paired import plainly

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

Figure = Callable[[Any], Any]
"""From a mean over docs to the figure that is reported; monotone; works on arrays."""

_AGREES = 1e-6
"""Relative difference up to which a reading gives lm_eval's own figure."""


@dataclass(frozen=True, slots=True)
class DocValues:
    """One figure of one model: `figure(sum(weights * values) / sum(weights))` over the docs that count."""

    values: Values
    """[D] NaN for docs that do not count."""
    weights: Values
    """[D] positive; words or bytes for perplexities, else 1."""
    figure: Figure

    @property
    def is_mean(self) -> bool:
        """Whether the figure is the plain mean, every doc counting the same."""
        return self.figure is plainly

    def of(self, docs: npt.NDArray[np.int64]) -> DocValues:
        """Those of the docs at these places, in that order."""
        return DocValues(self.values[docs], self.weights[docs], self.figure)

    def total(self) -> float:
        """The figure over all docs that count; at least one does."""
        import numpy as np

        counts = ~np.isnan(self.values)
        return float(self.figure(np.average(self.values[counts], weights=self.weights[counts])))


def read_values(raw: Sequence[Any], stored: float) -> DocValues | None:
    """The reading of the docs' stored values that gives the figure `stored`; None where none does.

    Args:
        raw: [D] what the store keeps of each doc: a number, a pair [log-likelihood, words or bytes], or None
            where the doc does not count.
    """
    import numpy as np

    counting = [value for value in raw if value is not None]
    if not counting:
        return None
    readings = _of_pairs(raw) if all(_is_pair(value) for value in counting) else _of_numbers(raw)
    with np.errstate(over="ignore"):
        return next((one for one in readings if math.isclose(one.total(), stored, rel_tol=_AGREES)), None)


def perplexity(nats: Any) -> Any:
    """exp(-x) of a mean log-likelihood in nats (lm_eval/api/metrics.py `perplexity`)."""
    import numpy as np

    return np.exp(-nats)


def bits(nats: Any) -> Any:
    """A mean log-likelihood in nats as bits (lm_eval/api/metrics.py `bits_per_byte`)."""
    return -nats / math.log(2)


def loss(nats: Any) -> Any:
    """A mean log-likelihood as the loss of training logs, in nats."""
    return -nats


def _of_numbers(raw: Sequence[Any]) -> Iterator[DocValues]:
    import numpy as np

    if not all(value is None or isinstance(value, int | float) for value in raw):
        return
    values = np.array([math.nan if value is None else float(value) for value in raw])
    ones = np.ones(len(raw))
    yield DocValues(values, ones, plainly)
    yield DocValues(values, ones, perplexity)


def _of_pairs(raw: Sequence[Any]) -> Iterator[DocValues]:
    import numpy as np

    pairs = np.array([(math.nan, 1.0) if value is None else value for value in raw], dtype=np.float64)
    if not (pairs[:, 1] > 0).all():
        return
    values, weights = pairs[:, 0] / pairs[:, 1], pairs[:, 1]
    yield DocValues(values, weights, perplexity)
    yield DocValues(values, weights, bits)
    yield DocValues(values, weights, loss)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int | float) for one in value)
