"""Sequences for the planner's tests: hypothesis strategies that share prefixes on purpose."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from milepost.types.sequences import Sequences


def as_sequences(rows: list[tuple[list[int], int]]) -> Sequences:
    """Rows of (token ids, number of targets)."""
    return Sequences(
        tokens=np.array([token for tokens, _ in rows for token in tokens], np.int32),
        starts=np.cumsum([0] + [len(tokens) for tokens, _ in rows]).astype(np.int64),
        n_targets=np.array([n for _, n in rows], np.int32),
    )


@st.composite
def rows(draw: st.DrawFn, max_rows: int = 14, max_length: int = 24) -> list[tuple[list[int], int]]:
    """Sequences that begin with pieces of one another, repeat, end inside one another, or are cut left."""
    made: list[tuple[list[int], int]] = []
    token = st.integers(0, 3)
    for _ in range(draw(st.integers(0, max_rows))):
        continues = bool(made) and draw(st.booleans())
        start = list(draw(st.sampled_from(made))[0]) if continues else []
        tokens = start[: draw(st.integers(0, len(start)))] + draw(st.lists(token, max_size=max_length))
        tokens = (tokens + draw(st.lists(token, min_size=2, max_size=2)))[-max_length:]
        made.append((tokens, draw(st.integers(1, len(tokens) - 1))))
    return made
