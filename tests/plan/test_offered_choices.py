"""What is offered, beside the token ids that score it."""

from __future__ import annotations

import numpy as np

from milepost.plan.encode import EncodedTask
from milepost.plan.offered_choices import choices_of, requests_of_choices
from milepost.types.choices import Offer
from milepost.types.sequences import Sequences


def test_each_choice_has_the_length_of_its_own_request() -> None:
    """Doc 3 has two requests per choice, as `acc_mutual_info` asks; the second half has no context."""
    n_targets = np.array([1, 2, 3, 4, 9, 9, 1, 1], dtype=np.int32)
    sequences = Sequences(tokens=np.zeros(80, dtype=np.int32), starts=np.arange(9) * 10, n_targets=n_targets)
    encoded = EncodedTask(
        sequences=sequences, request_of=np.arange(8, dtype=np.int32), n_requests=8, n_truncated=0
    )
    doc_ids = np.array([3, 3, 3, 3, 7, 7, 7, 7])
    offers = [Offer(3, ("é", "no"), (1,)), Offer(7, ("a", "b", "c", "d"), (0, 2))]
    choices = choices_of(offers, encoded, doc_ids)
    assert choices.tokens.tolist() == [1, 2, 9, 9, 1, 1]
    assert choices.chars.tolist() == [1, 2, 1, 1, 1, 1]
    assert choices.bytes.tolist() == [2, 2, 1, 1, 1, 1]
    assert choices.right.tolist() == [False, True, True, False, True, False]
    assert not choices.fixed
    assert requests_of_choices(choices.doc_id, doc_ids).tolist() == [0, 1, 4, 5, 6, 7]
