"""lm_eval's model class as the other side of a benchmark, and the distance of its scores from ours."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from common import MAX_LENGTH, cpu_seconds
from questions import Questions

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types.sequences import Scores, Sequences

BATCH_SIZES = (1, 4, 8, 16, 32)
SAMPLE_TOKENS = 3000
IN_FLOAT64 = 24
"""Sequences scored again in float64."""


class Harness:
    """lm_eval's HFLM over one of our modules."""

    def __init__(self, model: Any) -> None:
        from lm_eval.models.huggingface import HFLM
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        # It wants a tokenizer and, given token ids, never uses it.
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), eos_token="</s>")
        self.lm: Any = HFLM(pretrained=model, tokenizer=tokenizer, max_length=MAX_LENGTH, batch_size=1)

    def score(self, sequences: Sequences, batch_size: int) -> Scores:
        """Score sequences, which are already cut to the model's context, by `_loglikelihood_tokens`."""
        from milepost.types.sequences import Scores

        self.lm.batch_size_per_gpu = batch_size
        starts, tokens = sequences.starts.tolist(), sequences.tokens.tolist()
        requests = [
            (("", ""), tokens[a : b - n], tokens[b - n : b])
            for (a, b), n in zip(pairwise(starts), sequences.n_targets.tolist(), strict=True)
        ]
        answers = self.lm._loglikelihood_tokens(requests, disable_tqdm=True)
        return Scores(
            loglikelihood=np.array([score for score, _ in answers]),
            greedy=np.array([greedy for _, greedy in answers]),
        )

    def fastest_batch_size(self, sequences: Sequences) -> int:
        """Return the fastest batch size, in CPU seconds on distinct inputs of lengths around the median."""
        starts = sequences.starts.tolist()
        different = {sequences.tokens[a : b - 1].tobytes(): i for i, (a, b) in enumerate(pairwise(starts))}
        by_length = sorted(different.values(), key=lambda i: starts[i + 1] - starts[i])
        middle = len(by_length) // 2
        length = starts[by_length[middle] + 1] - starts[by_length[middle]]
        n = min(max(SAMPLE_TOKENS // length, 4), BATCH_SIZES[-1], len(by_length))
        first = max(0, middle - n // 2)
        sample = _choose(sequences, np.array(by_length[first : first + n]))
        sizes = [size for size in BATCH_SIZES if size <= n] or [1]
        self.score(longest(sample, 1), 1)
        seconds = {size: cpu_seconds(partial(self.score, sample, size))[0] for size in sizes}
        return min(seconds, key=seconds.__getitem__)


def longest(sequences: Sequences, n: int) -> Sequences:
    """Return the n longest sequences."""
    return _choose(sequences, np.argsort(np.diff(sequences.starts), kind="stable")[-n:])


def _choose(sequences: Sequences, numbers: npt.NDArray[np.int64]) -> Sequences:
    from milepost.types.sequences import Sequences

    pieces = [sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]] for i in numbers]
    return Sequences(
        tokens=np.concatenate(pieces),
        starts=np.cumsum([0] + [len(piece) for piece in pieces]),
        n_targets=sequences.n_targets[numbers],
    )


def agreement(questions: Questions, theirs: Scores, ours: Scores) -> dict[str, Any]:
    """Return the difference of the scores in nats, and the number of docs in which another choice wins."""
    fair = ~split_differently(questions.sequences)
    apart = np.abs(theirs.loglikelihood - ours.loglikelihood)[fair]
    relative = apart / np.abs(ours.loglikelihood[fair])
    doc = np.unique(np.stack([questions.task_of, questions.doc_of]), axis=1, return_inverse=True)[1].ravel()
    unfair_docs = set(doc[~fair].tolist())
    picks = [_picks(doc, scores.loglikelihood) for scores in (theirs, ours)]
    compared = [d for d in picks[0] if d not in unfair_docs]
    return {
        "max difference": float(apart.max()),
        "mean difference": float(apart.mean()),
        "max relative difference": float(relative.max()),
        "other picks": sum(picks[0][d] != picks[1][d] for d in compared),
        "other greedy": int((theirs.greedy != ours.greedy)[fair].sum()),
        "not compared": int((~fair).sum()),
    }


def errors(model: Any, sequences: Sequences, theirs: Scores, ours: Scores) -> dict[str, Any]:
    """Return how far both are from the same weights in float64, on some sequences.

    A difference that is larger than rounding should give can come from lm_eval, which adds up a request's
    log-probabilities in the model's dtype.
    """
    from milepost.engine import build_engine

    numbers = np.unique(np.linspace(0, len(sequences) - 1, IN_FLOAT64).astype(np.int64))
    exact = copy.deepcopy(model).double()
    engine = build_engine("reference", exact, vocab_size=exact.config.vocab_size)
    truth = engine.score(_choose(sequences, numbers)).loglikelihood
    return {
        "lm_eval max error": float(np.abs(theirs.loglikelihood[numbers] - truth).max()),
        "our max error": float(np.abs(ours.loglikelihood[numbers] - truth).max()),
    }


def split_differently(sequences: Sequences) -> npt.NDArray[np.bool_]:
    """Return [N] whether another sequence has the same input but another number of targets."""
    starts = sequences.starts.tolist()
    inputs = [sequences.tokens[a : b - 1].tobytes() for a, b in pairwise(starts)]
    counts: dict[bytes, set[int]] = {}
    for tokens, n in zip(inputs, sequences.n_targets.tolist(), strict=True):
        counts.setdefault(tokens, set()).add(n)
    return np.array([len(counts[tokens]) > 1 for tokens in inputs])


def _picks(doc: npt.NDArray[np.int64], loglikelihood: npt.NDArray[np.float64]) -> dict[int, int]:
    best: dict[int, int] = {}
    for i, d in enumerate(doc.tolist()):
        if d not in best or loglikelihood[i] > loglikelihood[best[d]]:
            best[d] = i
    return best
