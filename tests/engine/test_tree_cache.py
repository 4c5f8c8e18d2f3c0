"""The tree of a shard is built once for all checkpoints."""

from __future__ import annotations

import pytest

from milepost.engine import tree_cache
from milepost.engine.tree_cache import TreeCache
from tests.engine.models import random_requests


def test_the_tree_of_the_same_object_is_built_once() -> None:
    cache = TreeCache(share_prefixes=True)
    sequences = random_requests(seed=1)
    assert cache.tiled(sequences) is cache.tiled(sequences)


def test_other_sequences_get_another_tree() -> None:
    cache = TreeCache(share_prefixes=True)
    sizes = [len(cache.tiled(random_requests(seed=seed)).tree) for seed in range(5)]
    assert sizes == [
        len(TreeCache(share_prefixes=True).tiled(random_requests(seed=seed)).tree) for seed in range(5)
    ]
    assert len(set(sizes)) > 1


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = TreeCache(share_prefixes=True)
    first = random_requests(seed=1)
    before = cache.tiled(first)
    monkeypatch.setattr(tree_cache, "KEPT_NODES", len(before.tree))
    cache.tiled(random_requests(seed=2))
    assert cache.tiled(first) is not before


def test_without_sharing_every_token_is_a_node() -> None:
    sequences = random_requests(seed=3)
    cache = TreeCache(share_prefixes=False)
    assert len(cache.tiled(sequences).tree) == len(sequences.tokens) - len(sequences)
