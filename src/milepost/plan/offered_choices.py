"""What a multiple-choice task offers, as arrays beside its token ids."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from milepost.plan.encode import EncodedTask
from milepost.types import Choices, Offer


def choices_of(offers: Sequence[Offer], encoded: EncodedTask, doc_ids: npt.NDArray[np.int64]) -> Choices:
    """The task's choices with the number of tokens that are scored for each.

    Args:
        offers: one per doc, in the order of the docs.
        doc_ids: [R] the doc of each request.
    """
    counts = np.asarray([len(each.texts) for each in offers])
    own = np.asarray([each.doc_id for each in offers], dtype=np.int64)
    doc_id = np.repeat(own, counts)
    texts = list(chain.from_iterable(each.texts for each in offers))
    right = [place in each.right for each in offers for place in range(len(each.texts))]
    tokens = np.bincount(
        encoded.request_of, weights=encoded.sequences.n_targets, minlength=encoded.n_requests
    )
    return Choices(
        doc_id=doc_id,
        right=np.asarray(right, dtype=np.bool_),
        chars=np.asarray([len(text) for text in texts], dtype=np.int32),
        bytes=np.asarray([len(text.encode()) for text in texts], dtype=np.int32),
        tokens=tokens[requests_of_choices(doc_id, doc_ids)].astype(np.int32),
        fixed=len({each.texts for each in offers}) == 1,
        scored_bytes=np.asarray(
            [
                len((text if each.scored is None else each.scored).encode())
                for each in offers
                for text in each.texts
            ],
            dtype=np.int32,
        ),
    )


def requests_of_choices(
    choice_doc_ids: npt.NDArray[np.int64], doc_ids: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """[C] the request that scores each choice: a doc's first requests, in the order of its choices.

    Behind them a doc may have others (the choices without their context, for `acc_mutual_info`).

    Args:
        choice_doc_ids: [C] the doc of each choice, ascending.
        doc_ids: [R] the doc of each request, ascending.
    """
    place = np.arange(len(choice_doc_ids)) - np.searchsorted(choice_doc_ids, choice_doc_ids)
    return np.searchsorted(doc_ids, choice_doc_ids) + place
