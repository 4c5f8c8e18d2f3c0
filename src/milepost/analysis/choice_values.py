"""What the log-likelihoods of a doc's choices say besides right or wrong. Arrays in, arrays out.

Shapes: C choices of all docs, D docs. None of it costs a forward pass: the log-likelihoods are stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from milepost.types import Choices

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocMetrics:
    """Figures of each doc of a task at one checkpoint; NaN where it has no right choice, or no wrong one."""

    doc_id: Ints
    """[D]"""
    pick: Ints
    """[D] the choice with the highest log-likelihood, the first of equals: lm_eval's `acc`."""
    pick_norm: Ints
    """[D] likewise per character: `acc_norm`."""
    pick_tokens: Ints
    """[D] likewise per token."""
    pick_bytes: Ints
    """[D] likewise per byte: `acc_bytes`."""
    right: Bools
    """[D] whether `pick` is right, and so on for the three others."""
    right_norm: Bools
    right_tokens: Bools
    right_bytes: Bools
    prob_right: Floats
    """[D] share of the right choices in the probability of all choices, 0 to 1 (softmax over the choices)."""
    bpb_right: Floats
    """[D] bits per byte of the right choice: -log2 of its probability given the prompt, over the bytes of
    what is scored for it without the delimiter: its text, or where choices stand in the contexts (winogrande)
    the text that follows all of them. Of several right ones the best; NaN where that text is empty. Unlike
    `prob_right` it does not depend on the wrong choices, so it moves as soon as the model learns to write
    anything like the answer."""
    margin: Floats
    """[D] nats from the best wrong choice up to the best right one; positive where `pick` is right."""
    entropy: Floats
    """[D] bits, of the probabilities over the choices; log2 of their number where the model has no idea."""
    confidence: Floats
    """[D] probability of the pick among the choices, 0 to 1."""
    sure_right: Bools
    """[D] whether every choice with the highest log-likelihood is right; HELM's calibration counts this."""

    def __len__(self) -> int:
        return len(self.doc_id)


@dataclass(frozen=True, slots=True)
class ChoiceTable:
    """Choices as a table: a row per doc, a column per position, as wide as the doc with most choices."""

    doc_id: Ints
    """[D]"""
    counts: Ints
    """[D] how many choices each doc offers."""
    row: Ints
    """[C] the doc of each choice."""
    place: Ints
    """[C] its position in the doc."""

    @classmethod
    def of(cls, choices: Choices) -> ChoiceTable:
        doc_id, row, counts = np.unique(choices.doc_id, return_inverse=True, return_counts=True)
        place = np.arange(len(choices)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(doc_id, counts, row, place)

    def table(self, values: npt.NDArray[Kind], empty: float | bool) -> npt.NDArray[Kind]:
        """[D, K] `values` [C], with `empty` where a doc has no such choice."""
        table = np.full((len(self.counts), int(self.counts.max())), empty, dtype=values.dtype)
        table[self.row, self.place] = values
        return table


def doc_metrics(choices: Choices, loglikelihood: Floats) -> DocMetrics:
    """Everything that one checkpoint's log-likelihoods say about each doc.

    Args:
        choices: what was offered.
        loglikelihood: [C] nats, without NaN.

    Sources: lm_eval/api/task.py `process_results` for the picks; for probabilities of the right answer as an
    early signal, Schaeffer et al., arXiv 2406.04391, and "Signal and Noise", arXiv 2508.13144, section 5.3.
    """
    layout = ChoiceTable.of(choices)
    right = layout.table(choices.right, False)
    logs = layout.table(np.asarray(loglikelihood, dtype=np.float64), -np.inf)
    pick = logs.argmax(axis=1)
    picks = {name: _pick_per(layout, logs, getattr(choices, name)) for name in ("chars", "tokens", "bytes")}
    probs = _softmax(logs)
    best_right = np.where(right, logs, -np.inf).max(axis=1)
    best_wrong = np.where(right, -np.inf, logs).max(axis=1)
    has_right = right.any(axis=1)
    has_both = has_right & (right.sum(axis=1) < layout.counts)
    highest = logs == logs.max(axis=1, keepdims=True)
    rows = np.arange(len(pick))
    return DocMetrics(
        doc_id=layout.doc_id,
        pick=pick,
        pick_norm=picks["chars"],
        pick_tokens=picks["tokens"],
        pick_bytes=picks["bytes"],
        right=right[rows, pick],
        right_norm=right[rows, picks["chars"]],
        right_tokens=right[rows, picks["tokens"]],
        right_bytes=right[rows, picks["bytes"]],
        prob_right=np.where(has_right, np.where(right, probs, 0.0).sum(axis=1), np.nan),
        bpb_right=_bits_per_byte(layout, logs, right, choices),
        margin=np.subtract(best_right, best_wrong, out=np.full(len(pick), np.nan), where=has_both),
        entropy=_entropy_bits(probs),
        confidence=probs.max(axis=1),
        sure_right=(right | ~highest).all(axis=1),
    )


def _pick_per(layout: ChoiceTable, logs: Floats, lengths: npt.NDArray[np.int32]) -> Ints:
    """As lm_eval divides: an empty choice becomes minus infinity and is never picked."""
    table = layout.table(lengths.astype(np.float64), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        picks: Ints = (logs / table).argmax(axis=1)
    return picks


def _softmax(logs: Floats) -> Floats:
    powers: Floats = np.exp(logs - logs.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _entropy_bits(probs: Floats) -> Floats:
    logs = np.log2(probs, out=np.zeros_like(probs), where=probs > 0)
    bits: Floats = -(probs * logs).sum(axis=1)
    return np.maximum(0.0, bits)


def _bits_per_byte(layout: ChoiceTable, logs: Floats, right: Bools, choices: Choices) -> Floats:
    lengths = layout.table(choices.scored_bytes.astype(np.float64), 0.0)
    bits = np.full(logs.shape, np.inf)
    np.divide(-logs / math.log(2), lengths, out=bits, where=right & (lengths > 0))
    best = bits.min(axis=1)
    return np.where(np.isfinite(best), best, np.nan)
