"""Every row of a pack sees exactly its keys in the tree, however its attention is cut into calls."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.engine import attention_plan
from milepost.engine.attention_plan import AttentionPlan, plan_attention
from milepost.plan.packs import Pack, cut_packs, make_pack
from milepost.plan.tiles import cut_tiles
from milepost.plan.tree import build_tree
from tests.engine.models import pack_up

SEQUENCES = st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=24), min_size=1, max_size=20)


def seen(plan: AttentionPlan, n_keys: int) -> np.ndarray:
    """Return [R, C + T] how often a query sees a key, counted through the places of its results."""
    meetings = []
    for call in plan.tile_calls:
        for tile in range(len(call.queries)):
            for n in range(call.queries.shape[1]):
                keys = call.keys[tile]
                visible = keys[: n + 1] if call.allowed is None else keys[call.allowed[tile, n]]
                meetings.append(np.bincount(visible, minlength=n_keys))
    counts = np.array(meetings).reshape(-1, n_keys)[plan.place]
    for path in plan.path_passes:
        for query in path.queries:
            counts[query] += np.bincount(path.keys, minlength=n_keys)
    return counts


def expected(pack: Pack, window: int | None) -> np.ndarray:
    rows, keys = np.arange(len(pack))[:, None], np.arange(len(pack.key_end))[None]
    mask = (keys - len(pack.context) <= rows) & (rows < pack.key_end)
    if window is not None:
        position = np.concatenate([np.arange(len(pack.context)), pack.positions])
        mask &= pack.positions[:, None] - position < window
    return mask.astype(int)


@given(
    sequences=SEQUENCES,
    budget=st.integers(1, 60),
    tile_tokens=st.integers(1, 40),
    window=st.none() | st.integers(1, 12),
    cascade=st.booleans(),
    batch_tiles=st.booleans(),
    shortest_path=st.integers(1, 6),
    shortest_causal=st.integers(1, 12),
    random=st.none() | st.randoms(use_true_random=False),
)
def test_every_query_meets_each_of_its_keys_once(
    sequences: list[list[int]],
    budget: int,
    tile_tokens: int,
    window: int | None,
    cascade: bool,
    batch_tiles: bool,
    shortest_path: int,
    shortest_causal: int,
    random: Random | None,
) -> None:
    tree = build_tree(pack_up([(tokens, 1) for tokens in sequences]))
    tiles = cut_tiles(tree, tile_tokens=tile_tokens, join_tokens=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_plan, "SHORTEST_PATH_PASS", shortest_path)
        patch.setattr(attention_plan, "SHORTEST_CAUSAL_CALL", shortest_causal)
        for span in cut_packs(tree, tiles, budget):
            pack = make_pack(tree, tiles, span)
            rows = np.arange(len(pack))
            if random is not None:
                rows = np.array(sorted(random.sample(range(len(pack)), random.randint(1, len(pack)))))
            plan = plan_attention(
                pack,
                rows=None if random is None else rows,
                window=window,
                cascade=cascade,
                batch_tiles=batch_tiles,
            )
            np.testing.assert_array_equal(seen(plan, len(pack.key_end)), expected(pack, window)[rows])


def test_similar_tiles_share_a_call_and_unlike_ones_do_not() -> None:
    random = np.random.default_rng(0)
    lengths = [20, 21, 20, 90, 92, 21, 91]
    tree = build_tree(pack_up([(random.integers(0, 10**6, n).tolist(), 1) for n in lengths]))
    tiles = cut_tiles(tree, tile_tokens=256, join_tokens=0)
    (span,) = cut_packs(tree, tiles, 10**6)
    pack = make_pack(tree, tiles, span)
    calls = plan_attention(pack).tile_calls
    assert sorted(len(call.queries) for call in calls) == [3, 4]
    assert len(plan_attention(pack, batch_tiles=False).tile_calls) == len(lengths)
