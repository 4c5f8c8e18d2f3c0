"""Laying out once what every checkpoint is asked."""

from __future__ import annotations

import pytest

from milepost.engine import tree_cache as layouts
from milepost.engine.tree_cache import TreeCache
from tests.engine.models import random_requests


def test_the_same_object_is_laid_out_once() -> None:
    kept = TreeCache(share_prefixes=True)
    sequences = random_requests(seed=1)
    assert kept.of(sequences) is kept.of(sequences)


def test_other_sequences_get_a_layout_of_their_own() -> None:
    kept = TreeCache(share_prefixes=True)
    sizes = [len(kept.of(random_requests(seed=seed)).tree) for seed in range(5)]
    assert sizes == [
        len(TreeCache(share_prefixes=True).of(random_requests(seed=seed)).tree) for seed in range(5)
    ]
    assert len(set(sizes)) > 1


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = TreeCache(share_prefixes=True)
    first = random_requests(seed=1)
    layout = kept.of(first)
    monkeypatch.setattr(layouts, "KEPT_NODES", len(layout.tree))
    kept.of(random_requests(seed=2))
    assert kept.of(first) is not layout


def test_without_sharing_every_token_is_a_node() -> None:
    sequences = random_requests(seed=3)
    assert len(TreeCache(share_prefixes=False).of(sequences).tree) == len(sequences.tokens) - len(sequences)
