"""The choices that multiple-choice tasks offer, and which of them are right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Offer:
    """The choices of one doc of a multiple-choice task."""

    doc_id: int
    texts: tuple[str, ...]
    """Texts of the choices, without the delimiter before them."""
    right: tuple[int, ...]
    """Positions of right choices in `texts`; empty if the data have none."""
    scored: str | None = None
    """The text that is scored after each choice, without the delimiter, if the choices are in the contexts
    (winogrande); None if the choices themselves are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The choices of a multiple-choice task, doc after doc; the same for every checkpoint.

    Arrays [C], one entry per choice, in the order of the docs and of lm_eval's choices.
    """

    doc_id: npt.NDArray[np.int64]
    """Position of the choice's doc in the evaluation split, ascending."""
    right: npt.NDArray[np.bool_]
    """True for right choices; a doc may have several of them, or none."""
    chars: npt.NDArray[np.int32]
    """Characters of the choice's text without the delimiter before it, as in lm_eval's `acc_norm`."""
    bytes: npt.NDArray[np.int32]
    """Bytes of the same text in UTF-8, as in lm_eval's `acc_bytes`."""
    tokens: npt.NDArray[np.int32]
    """Scored tokens of the choice, with the delimiter."""
    fixed: bool
    """True if every doc has the same choices, such as the letters A to D: then a position has a name."""
    scored_bytes: npt.NDArray[np.int32]
    """Bytes in UTF-8 of the text that is scored for the choice, without the delimiter before it: the choice
    itself, unless the choices are in the contexts."""

    def __len__(self) -> int:
        return len(self.doc_id)


CHOICE_COLUMNS = ("doc_id", "right", "chars", "bytes", "tokens", "scored_bytes")
"""The arrays of `Choices`, as they are stored."""
