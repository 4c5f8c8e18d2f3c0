"""Match the docs of two results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class CommonDocs(NamedTuple):
    """Positions of the same docs in two lists, in the order of the first list."""

    original: npt.NDArray[np.int64]
    """[C] positions in the first list."""
    other: npt.NDArray[np.int64]
    """[C] positions in the second list."""


def common_docs(original: Sequence[str], other: Sequence[str]) -> CommonDocs:
    """Match docs by their hashes; repeated docs are matched in order, the first with the first."""
    import numpy as np

    place = {key: i for i, key in enumerate(_numbered(other))}
    pairs = [(i, place[key]) for i, key in enumerate(_numbered(original)) if key in place]
    places = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return CommonDocs(places[:, 0], places[:, 1])


def _numbered(hashes: Sequence[str]) -> list[tuple[str, int]]:
    """Return each hash with the number of times that it occurred before."""
    seen: Counter[str] = Counter()
    numbered = []
    for key in hashes:
        numbered.append((key, seen[key]))
        seen[key] += 1
    return numbered
