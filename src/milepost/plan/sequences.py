"""Select token sequences and measure them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from milepost.types.sequences import Sequences


def take(sequences: Sequences, chosen: npt.NDArray[np.int64]) -> Sequences:
    """Return the chosen sequences, in the order of `chosen`."""
    parts = [sequences.tokens[sequences.starts[i] : sequences.starts[i + 1]] for i in chosen]
    return Sequences(
        tokens=np.concatenate([sequences.tokens[:0], *parts]),
        starts=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
        n_targets=sequences.n_targets[chosen],
    )


def longest(sequences: Sequences) -> int:
    """Return the length of the longest sequence in tokens; 0 without sequences."""
    return int(np.diff(sequences.starts).max(initial=0))
