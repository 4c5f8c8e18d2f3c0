"""Compute values of each doc from the log-likelihoods of its choices: picks, probabilities, margins.

Shapes: C choices of all docs, D docs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from milepost.types.choices import Choices

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocMetrics:
    """Values of each doc of a task at one checkpoint; NaN without a right choice, or without a wrong one."""

    doc_id: Ints
    """[D]"""
    pick: Ints
    """[D] the choice with the highest log-likelihood, the first of equal ones: lm_eval's `acc`."""
    pick_norm: Ints
    """[D] the same per character: `acc_norm`."""
    pick_tokens: Ints
    """[D] the same per token."""
    pick_bytes: Ints
    """[D] the same per byte: `acc_bytes`."""
    right: Bools
    """[D] True if `pick` is right; the next three are about the other picks."""
    right_norm: Bools
    right_tokens: Bools
    right_bytes: Bools
    prob_right: Floats
    """[D] share of the right choices in the probability of all choices, 0 to 1 (softmax over the choices)."""
    bpb_right: Floats
    """[D] bits per byte of the right choice: -log2 of its probability given the prompt, over the bytes of the
    scored text without the delimiter: the choice, or the text after it if choices are in the contexts
    (winogrande). The best of several right choices; NaN if the text is empty. Unlike `prob_right` it does not
    depend on the wrong choices, so it improves as soon as the model learns to write text like the answer."""
    margin: Floats
    """[D] log-likelihood of the best right choice minus the best wrong one, in nats."""
    entropy: Floats
    """[D] entropy of the probabilities of the choices, bits; log2 of their number if all are equal."""
    confidence: Floats
    """[D] probability of the pick among the choices, 0 to 1."""
    sure_right: Bools
    """[D] True if every choice with the highest log-likelihood is right; used by HELM's calibration."""

    def __len__(self) -> int:
        return len(self.doc_id)


@dataclass(frozen=True, slots=True)
class ChoiceTable:
    """Converts values of choices to a table: a row per doc, a column per position."""

    doc_id: Ints
    """[D]"""
    counts: Ints
    """[D] number of choices of each doc."""
    row: Ints
    """[C] the doc of each choice."""
    place: Ints
    """[C] position of each choice in its doc."""

    @classmethod
    def of(cls, choices: Choices) -> ChoiceTable:
        """Lay out the choices of a task."""
        doc_id, row, counts = np.unique(choices.doc_id, return_inverse=True, return_counts=True)
        place = np.arange(len(choices)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(doc_id, counts, row, place)

    def of_docs(self, values: npt.NDArray[Scalar], empty: float | bool) -> npt.NDArray[Scalar]:
        """Return `values` [C] as [D, most choices], with `empty` where a doc has no such choice."""
        table = np.full((len(self.counts), int(self.counts.max())), empty, dtype=values.dtype)
        table[self.row, self.place] = values
        return table


def doc_metrics(choices: Choices, loglikelihood: Floats) -> DocMetrics:
    """Compute the values of each doc from one checkpoint's log-likelihoods.

    Args:
        choices: the choices of the task.
        loglikelihood: [C] nats, without NaN.

    Sources: lm_eval/api/task.py `process_results` for the picks; for probabilities of the right answer as an
    early signal, Schaeffer et al., arXiv 2406.04391, and "Signal and Noise", arXiv 2508.13144, section 5.3.
    """
    table = ChoiceTable.of(choices)
    right = table.of_docs(choices.right, False)
    logs = table.of_docs(np.asarray(loglikelihood, dtype=np.float64), -np.inf)
    pick = logs.argmax(axis=1)
    picks = {name: _pick_per(table, logs, getattr(choices, name)) for name in ("chars", "tokens", "bytes")}
    probs = softmax(logs)
    best_right = np.where(right, logs, -np.inf).max(axis=1)
    best_wrong = np.where(right, -np.inf, logs).max(axis=1)
    has_right = right.any(axis=1)
    has_both = has_right & (right.sum(axis=1) < table.counts)
    highest = logs == logs.max(axis=1, keepdims=True)
    rows = np.arange(len(pick))
    return DocMetrics(
        doc_id=table.doc_id,
        pick=pick,
        pick_norm=picks["chars"],
        pick_tokens=picks["tokens"],
        pick_bytes=picks["bytes"],
        right=right[rows, pick],
        right_norm=right[rows, picks["chars"]],
        right_tokens=right[rows, picks["tokens"]],
        right_bytes=right[rows, picks["bytes"]],
        prob_right=np.where(has_right, np.where(right, probs, 0.0).sum(axis=1), np.nan),
        bpb_right=_bits_per_byte(table, logs, right, choices),
        margin=np.subtract(best_right, best_wrong, out=np.full(len(pick), np.nan), where=has_both),
        entropy=_entropy_bits(probs),
        confidence=probs.max(axis=1),
        sure_right=(right | ~highest).all(axis=1),
    )


def _pick_per(table: ChoiceTable, logs: Floats, lengths: npt.NDArray[np.int32]) -> Ints:
    """Pick by log-likelihood over length, as lm_eval divides: an empty choice is never picked."""
    divisors = table.of_docs(lengths.astype(np.float64), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        picks: Ints = (logs / divisors).argmax(axis=1)
    return picks


def softmax(logs: Floats) -> Floats:
    """Return log-likelihoods [D, C] as probabilities that sum to 1 over the choices of each doc."""
    powers: Floats = np.exp(logs - logs.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _entropy_bits(probs: Floats) -> Floats:
    logs = np.log2(probs, out=np.zeros_like(probs), where=probs > 0)
    bits: Floats = -(probs * logs).sum(axis=1)
    return np.maximum(0.0, bits)


def _bits_per_byte(table: ChoiceTable, logs: Floats, right: Bools, choices: Choices) -> Floats:
    lengths = table.of_docs(choices.scored_bytes.astype(np.float64), 0.0)
    bits = np.full(logs.shape, np.inf)
    np.divide(-logs / math.log(2), lengths, out=bits, where=right & (lengths > 0))
    best = bits.min(axis=1)
    return np.where(np.isfinite(best), best, np.nan)
