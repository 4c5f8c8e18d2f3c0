"""Turn the choices of a multiple-choice task into arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from milepost.plan.encode import EncodedTask
from milepost.types.choices import Choices, Offer


def choices_of(offers: Sequence[Offer], encoded: EncodedTask, doc_ids: npt.NDArray[np.int64]) -> Choices:
    """Return the task's choices as arrays, with the number of scored tokens of each.

    Args:
        offers: the choices of each doc, in the order of the docs.
        doc_ids: [R] the doc of each request.
    """
    counts = np.asarray([len(offer.texts) for offer in offers])
    offer_doc_ids = np.asarray([offer.doc_id for offer in offers], dtype=np.int64)
    doc_id = np.repeat(offer_doc_ids, counts)
    texts = list(chain.from_iterable(offer.texts for offer in offers))
    right = [place in offer.right for offer in offers for place in range(len(offer.texts))]
    tokens = np.bincount(
        encoded.request_of, weights=encoded.sequences.n_targets, minlength=encoded.n_requests
    )
    return Choices(
        doc_id=doc_id,
        right=np.asarray(right, dtype=np.bool_),
        chars=np.asarray([len(text) for text in texts], dtype=np.int32),
        bytes=np.asarray([len(text.encode()) for text in texts], dtype=np.int32),
        tokens=tokens[requests_of_choices(doc_id, doc_ids)].astype(np.int32),
        fixed=len({offer.texts for offer in offers}) == 1,
        scored_bytes=np.asarray(
            [
                len((text if offer.scored is None else offer.scored).encode())
                for offer in offers
                for text in offer.texts
            ],
            dtype=np.int32,
        ),
    )


def requests_of_choices(
    choice_doc_ids: npt.NDArray[np.int64], doc_ids: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return [C] the request that scores each choice: a doc's first requests, in the order of its choices.

    Further requests of a doc are the choices without their context (for `acc_mutual_info`).

    Args:
        choice_doc_ids: [C] the doc of each choice, ascending.
        doc_ids: [R] the doc of each request, ascending.
    """
    place = np.arange(len(choice_doc_ids)) - np.searchsorted(choice_doc_ids, choice_doc_ids)
    return np.searchsorted(doc_ids, choice_doc_ids) + place
