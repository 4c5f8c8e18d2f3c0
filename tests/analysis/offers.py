"""Multiple-choice docs made up for tests: what they offer, and what a model said."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from milepost.types.choices import Choices


def offered(*docs: str, fixed: bool = False) -> Choices:
    """Choices from lines such as `"cat *dog bird"`: words are choices, a star marks the right ones."""
    words = [doc.split() for doc in docs]
    texts = [word.lstrip("*") for doc in words for word in doc]
    return Choices(
        doc_id=np.repeat(np.arange(len(docs)), [len(doc) for doc in words]),
        right=np.asarray([word.startswith("*") for doc in words for word in doc]),
        chars=np.asarray([len(text) for text in texts], dtype=np.int32),
        bytes=np.asarray([len(text.encode()) for text in texts], dtype=np.int32),
        tokens=np.ones(len(texts), dtype=np.int32),
        fixed=fixed,
        scored_bytes=np.asarray([len(text.encode()) for text in texts], dtype=np.int32),
    )


def letters(right: npt.NDArray[np.int64], n_choices: int = 4) -> Choices:
    """Docs that offer A, B, C, ..., with the right one at the given positions."""
    n = len(right)
    ones = np.ones(n * n_choices, dtype=np.int32)
    return Choices(
        doc_id=np.repeat(np.arange(n), n_choices),
        right=(np.arange(n_choices) == right[:, None]).ravel(),
        chars=ones,
        bytes=ones,
        tokens=ones,
        fixed=True,
        scored_bytes=ones,
    )
