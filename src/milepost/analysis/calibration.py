"""Compute the expected calibration error: the gap between confidence and accuracy."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 10


class Calibration(NamedTuple):
    """The calibration error and its standard error; 0 if confidence equals accuracy."""

    error: float
    stderr: float | None
    """Standard error; None with fewer than two docs."""


def calibration_error(
    confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], bins: int = BINS
) -> Calibration:
    """Compute the expected calibration error with bins of equally many docs, HELM's `ece_10_bin`.

    Docs are sorted by confidence and cut into `bins` parts of nearly equal size (`numpy.array_split`), or one
    part per doc if there are fewer docs. A bin ends halfway between the last confidence of its part and the
    first of the next, so that equal confidences share a bin. The error is the mean over docs of their bin's
    |mean confidence - share right|. HELM warns that the error says little below about 300 docs: with a few
    docs in a bin, chance alone makes a gap.

    The error is also the mean of ±(confidence - right) with the sign of the doc's bin. The standard error is
    that of this mean, with bins and signs taken as known, which is fair if the gaps are clear.

    Args:
        confidence: [D] probability of the pick among the choices.
        right: [D] True if the pick, and every choice with the same probability, is right.

    Sources: helm/benchmark/metrics/basic_metrics.py `compute_calibration_metrics`; `get_ece_em` of the
    package uncertainty-calibration (Kumar, Liang and Ma, arXiv 1909.10155), which HELM calls.
    """
    n = len(confidence)
    parts = np.array_split(np.sort(confidence), min(bins, n))
    ends = np.unique([(part[-1] + after[0]) / 2 for part, after in pairwise(parts)])
    bin_of = np.searchsorted(ends, confidence)
    gaps = confidence - right
    sums = np.bincount(bin_of, weights=gaps, minlength=len(ends) + 1)
    signed = gaps * np.sign(sums)[bin_of]
    stderr = float(signed.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return Calibration(float(np.abs(sums).sum() / n), stderr)
