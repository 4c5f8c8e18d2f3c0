"""Which docs two results have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class CommonDocs(NamedTuple):
    """Places of the same docs in two lists, in the order of the first."""

    original: npt.NDArray[np.int64]
    """[C]"""
    other: npt.NDArray[np.int64]
    """[C]"""


def common_docs(original: Sequence[str], other: Sequence[str]) -> CommonDocs:
    """Match docs by their hashes; of docs that occur several times, the first with the first, and so on."""
    import numpy as np

    place = {key: i for i, key in enumerate(_numbered(other))}
    pairs = [(i, place[key]) for i, key in enumerate(_numbered(original)) if key in place]
    places = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return CommonDocs(places[:, 0], places[:, 1])


def _numbered(hashes: Sequence[str]) -> list[tuple[str, int]]:
    """Each hash with how often it has occurred before."""
    seen: Counter[str] = Counter()
    numbered = []
    for one in hashes:
        numbered.append((one, seen[one]))
        seen[one] += 1
    return numbered
