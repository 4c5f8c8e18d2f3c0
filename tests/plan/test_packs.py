import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.plan.packs import Pack, Span, cut_packs, halves, make_pack
from milepost.plan.tiles import Tiles, cut_tiles
from milepost.plan.tree import Tree, ancestors, build_tree
from tests.plan.sequences import as_sequences, rows

Rows = list[tuple[list[int], int]]
tile_sizes = st.tuples(st.integers(1, 40), st.integers(1, 20))


def layout(given_rows: Rows, sizes: tuple[int, int]) -> tuple[Tree, Tiles]:
    tree = build_tree(as_sequences(given_rows))
    return tree, cut_tiles(tree, tile_tokens=sizes[0], join_tokens=sizes[1])


def visible(pack: Pack) -> np.ndarray:
    """[T, C + T] who sees whom, by the rule that the pack's docstring gives."""
    query = np.arange(len(pack))[:, None]
    key = np.arange(len(pack.key_end))[None, :]
    return (key - len(pack.context) <= query) & (query < pack.key_end[None, :])


def visible_by_tiles(pack: Pack) -> np.ndarray:
    """[T, C + T] the same through the tiles: the whole path, and causal or masked inside."""
    seen = np.zeros((len(pack), len(pack.key_end)), bool)
    for tile in range(len(pack.tile_start)):
        rows_of_tile = slice(pack.tile_start[tile], pack.tile_stop[tile])
        keys = slice(rows_of_tile.start + len(pack.context), rows_of_tile.stop + len(pack.context))
        path = pack.tile_path[tile]
        seen[rows_of_tile, pack.path_rows[pack.path_starts[path] : pack.path_starts[path + 1]]] = True
        n = rows_of_tile.stop - rows_of_tile.start
        causal = np.tri(n, dtype=bool)
        seen[rows_of_tile, keys] = causal if pack.tile_causal[tile] else visible(pack)[rows_of_tile, keys]
    return seen


@given(rows(), tile_sizes)
def test_tiles_cover_all_nodes_once_and_see_one_path(given_rows: Rows, sizes: tuple[int, int]) -> None:
    tree, tiles = layout(given_rows, sizes)
    assert tiles.start[0] == 0
    assert tiles.start[-1] == len(tree)
    assert (np.diff(tiles.start) > 0).all()
    for tile in range(len(tiles)):
        start, stop = tiles.start[tile], tiles.start[tile + 1]
        above = ancestors(tree, int(start))
        assert tiles.parent[tile] == (above[-1] if len(above) else -1)
        assert (tree.end[above] >= stop).all()
        assert tiles.trunk[tile] == (tree.end[start] > stop)
        if tiles.causal[tile]:
            assert (tree.end[start:stop] >= stop).all()
        else:
            assert not tiles.trunk[tile]
            assert stop - start <= max(sizes)


@given(rows(), tile_sizes, st.integers(1, 60), st.booleans())
def test_packs_compute_every_token_once_within_the_budget(
    given_rows: Rows, sizes: tuple[int, int], budget: int, aligned: bool
) -> None:
    tree, tiles = layout(given_rows, sizes)
    spans = cut_packs(tree, tiles, budget, aligned=aligned)
    computed = [node for span in spans for node in range(*span)]
    assert computed == list(range(len(tree)))
    lengths = [span.stop - span.start for span in spans]
    assert all(0 < length <= budget for length in lengths)
    if not aligned:
        assert set(lengths[:-1]) <= {budget}


@given(rows(), tile_sizes, st.integers(1, 60), st.booleans())
def test_each_token_sees_exactly_its_own_prefix(
    given_rows: Rows, sizes: tuple[int, int], budget: int, aligned: bool
) -> None:
    tree, tiles = layout(given_rows, sizes)
    for span in cut_packs(tree, tiles, budget, aligned=aligned):
        pack = make_pack(tree, tiles, span)
        assert np.array_equal(visible(pack), visible_by_tiles(pack))
        keys = np.concatenate([pack.context, np.arange(*span)])
        for row, node in enumerate(range(*span)):
            assert keys[visible(pack)[row]].tolist() == [*ancestors(tree, node).tolist(), node]
        assert np.array_equal(pack.tokens, tree.tokens[span.start : span.stop])
        assert np.array_equal(pack.positions, tree.pos[span.start : span.stop])


@given(rows(), tile_sizes, st.integers(1, 60), st.booleans())
def test_a_pack_keeps_what_the_next_one_needs(
    given_rows: Rows, sizes: tuple[int, int], budget: int, aligned: bool
) -> None:
    tree, tiles = layout(given_rows, sizes)
    kept: list[int] = []
    for span in cut_packs(tree, tiles, budget, aligned=aligned):
        pack = make_pack(tree, tiles, span)
        assert pack.context.tolist() == kept
        kept = np.concatenate([pack.context, np.arange(*span)])[pack.keep].tolist()
    assert kept == []


@given(rows(), tile_sizes, st.integers(1, 60), st.booleans())
def test_packs_ask_for_each_target_once_and_for_each_row_of_logits_once(
    given_rows: Rows, sizes: tuple[int, int], budget: int, aligned: bool
) -> None:
    tree, tiles = layout(given_rows, sizes)
    asked: list[list[int]] = [[] for _ in given_rows]
    for span in cut_packs(tree, tiles, budget, aligned=aligned):
        pack = make_pack(tree, tiles, span)
        assert (np.diff(pack.needed) > 0).all()
        assert set(pack.target_row.tolist()) == set(range(len(pack.needed)))
        assert np.array_equal(pack.needed[pack.target_row], np.sort(pack.needed[pack.target_row]))
        for target, sequence in zip(pack.target, pack.sequence, strict=True):
            asked[sequence].append(int(target))
    assert asked == [tokens[-n_targets:] for tokens, n_targets in given_rows]


@given(rows(), tile_sizes, st.data())
def test_a_pack_cut_in_halves_is_the_same_work(
    given_rows: Rows, sizes: tuple[int, int], data: st.DataObject
) -> None:
    tree, tiles = layout(given_rows, sizes)
    if len(tree) < 2:
        return
    start = data.draw(st.integers(0, len(tree) - 2))
    span = Span(start, data.draw(st.integers(start + 2, len(tree))))
    whole = make_pack(tree, tiles, span)
    left, right = (make_pack(tree, tiles, half) for half in halves(span))
    assert np.array_equal(np.concatenate([left.tokens, right.tokens]), whole.tokens)
    assert np.array_equal(np.concatenate([left.sequence, right.sequence]), whole.sequence)
    assert np.array_equal(np.concatenate([left.context, np.arange(*left.span)])[left.keep], right.context)


def test_neighbouring_small_tiles_on_one_parent_are_joined() -> None:
    trunk = list(range(30))
    given_rows = [([*trunk, 100 + i, 200, 300], 1) for i in range(8)]
    tree = build_tree(as_sequences(given_rows))
    apart = cut_tiles(tree, tile_tokens=10, join_tokens=1)
    joined = cut_tiles(tree, tile_tokens=10, join_tokens=4)
    assert np.diff(apart.start).tolist() == [30] + [2] * 8
    assert np.diff(joined.start).tolist() == [30] + [4] * 4
    assert apart.causal.tolist() == [True] * 9
    assert joined.causal.tolist() == [True] + [False] * 4


def test_aligned_packs_split_no_branching_tile_that_fits() -> None:
    given_rows = [([i, *range(10, 20), choice, 5], 1) for i in range(9) for choice in (1, 2)]
    tree = build_tree(as_sequences(given_rows))
    tiles = cut_tiles(tree, tile_tokens=13, join_tokens=1)
    spans = cut_packs(tree, tiles, 30)
    assert {span.start for span in spans} <= set(tiles.start.tolist())
    assert [span.stop - span.start for span in spans] == [26, 26, 26, 26, 13]


def test_a_pack_without_tokens_is_refused() -> None:
    tree, tiles = layout([([1, 2], 1)], (8, 8))
    with pytest.raises(ValueError, match="at least one token"):
        cut_packs(tree, tiles, 0)


def test_a_single_token_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="cannot be halved"):
        halves(Span(3, 4))
