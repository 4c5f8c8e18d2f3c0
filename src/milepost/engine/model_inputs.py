"""Turns `Sequences` into distinct model inputs with rows and targets, and checks token ids. Numpy only.

The model's input is a sequence without its last token. A *row* is one position of one input whose next-token
distribution is needed; a *target* is one token to be scored at a row. Equal inputs share their rows, whatever
follows them, so that choices of one token share a forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from milepost.errors import MilepostError
from milepost.text.language import Phrase
from milepost.types.sequences import Scores

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types.sequences import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """N sequences over I distinct inputs, with R rows and M targets."""

    tokens: list[npt.NDArray[np.int32]]
    """[I] the token ids of each input."""
    n_rows: npt.NDArray[np.int64]
    """[I] number of each input's last positions that are rows; R in all, in the order of inputs."""
    target_row: npt.NDArray[np.int64]
    """[M] row of each target."""
    target_token: npt.NDArray[np.int64]
    """[M] token id of each target."""
    target_sequence: npt.NDArray[np.int64]
    """[M] sequence of each target."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[I] tokens of each input."""
        return np.array([len(tokens) for tokens in self.tokens], dtype=np.int64)

    @property
    def first_row(self) -> npt.NDArray[np.int64]:
        """[I + 1] offsets of the inputs' rows."""
        return np.concatenate([[0], np.cumsum(self.n_rows)])


def check_tokens(sequences: Sequences, vocab_size: int) -> None:
    """Raise a MilepostError if the model does not have one of the sequences' token ids."""
    check_ids(sequences.tokens, vocab_size)


def check_ids(tokens: npt.NDArray[np.int32], vocab_size: int) -> None:
    """Raise a MilepostError if the model does not have one of the token ids."""
    if not len(tokens):
        return
    for token in (int(tokens.max()), int(tokens.min())):
        if not 0 <= token < vocab_size:
            raise MilepostError(
                Phrase(
                    "the requests have token id {token} but the model has {vocab_size} tokens",
                    token=token,
                    vocab_size=vocab_size,
                ),
                hint="the tokenizer does not belong to this model; pass the right one with --tokenizer",
            )


def distinct_inputs(sequences: Sequences) -> Inputs:
    """Return each distinct input once, with the rows and targets of all its sequences."""
    number_of: dict[bytes, int] = {}
    tokens: list[npt.NDArray[np.int32]] = []
    input_of = np.empty(len(sequences), dtype=np.int64)
    for i in range(len(sequences)):
        visible = sequences.tokens[sequences.starts[i] : sequences.starts[i + 1] - 1]
        number = number_of.setdefault(visible.tobytes(), len(tokens))
        if number == len(tokens):
            tokens.append(visible)
        input_of[i] = number

    n_targets = sequences.n_targets.astype(np.int64)
    n_rows = np.zeros(len(tokens), dtype=np.int64)
    np.maximum.at(n_rows, input_of, n_targets)
    end_row = np.cumsum(n_rows)

    target_sequence = np.repeat(np.arange(len(sequences)), n_targets)
    from_last = backwards(n_targets)
    return Inputs(
        tokens=tokens,
        n_rows=n_rows,
        target_row=end_row[input_of[target_sequence]] - 1 - from_last,
        target_token=sequences.tokens[sequences.starts[1:][target_sequence] - 1 - from_last].astype(np.int64),
        target_sequence=target_sequence,
    )


def backwards(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return, for each item of each run, how many items follow it: `[2, 3]` -> `[1, 0, 2, 1, 0]`."""
    ends = np.cumsum(counts)
    return np.repeat(ends, counts) - 1 - np.arange(ends[-1] if len(ends) else 0)


def sum_targets(
    n_sequences: int,
    target_sequence: npt.NDArray[np.int64],
    logprob: npt.NDArray[np.float32],
    greedy: npt.NDArray[np.bool_],
) -> Scores:
    """Return scores that sum each sequence's targets in float64; NaN if one of them is not finite.

    The targets of one sequence stand in the order of its tokens; others may stand between them.
    """
    total = np.bincount(target_sequence, weights=logprob, minlength=n_sequences)
    missed = np.bincount(target_sequence[~greedy], minlength=n_sequences)
    finite = np.isfinite(total)
    return Scores(
        loglikelihood=np.where(finite, total, np.nan),
        greedy=(missed == 0) & finite,
        target_logprobs=logprob[np.argsort(target_sequence, kind="stable")],
    )
