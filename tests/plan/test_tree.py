import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.plan.tree import Tree, ancestors, build_tree
from tests.plan.sequences import as_sequences, rows

Rows = list[tuple[list[int], int]]


def prefixes(given_rows: Rows) -> set[tuple[int, ...]]:
    """Every prefix of every model input: what has to be computed at the very least."""
    return {tuple(tokens[: n + 1]) for tokens, _ in given_rows for n in range(len(tokens) - 1)}


def text_above(tree: Tree, node: int) -> tuple[int, ...]:
    """The tokens from the top down to `node`, found through `end` alone."""
    path = [k for k in range(node) if tree.end[k] > node]
    return tuple(tree.tokens[[*path, node]].tolist())


@given(rows())
def test_every_distinct_prefix_is_exactly_one_node(given_rows: Rows) -> None:
    tree = build_tree(as_sequences(given_rows))
    texts = [text_above(tree, node) for node in range(len(tree))]
    assert sorted(texts) == sorted(prefixes(given_rows))


@given(rows())
def test_every_request_is_read_back_from_the_nodes_of_its_targets(given_rows: Rows) -> None:
    tree = build_tree(as_sequences(given_rows))
    for number, (tokens, n_targets) in enumerate(given_rows):
        mine = np.flatnonzero(tree.wanted_sequence == number)
        assert len(mine) == n_targets
        for nth, at in enumerate(mine):
            seen = tokens[: len(tokens) - n_targets + nth]
            assert text_above(tree, tree.wanted_node[at]) == tuple(seen)
            assert tree.wanted_token[at] == tokens[len(seen)]


@given(rows())
def test_a_node_stands_at_its_depth_and_knows_its_ancestors(given_rows: Rows) -> None:
    tree = build_tree(as_sequences(given_rows))
    for node in range(len(tree)):
        above = [k for k in range(node) if tree.end[k] > node]
        assert tree.pos[node] == len(above)
        assert ancestors(tree, node).tolist() == above
    assert len(ancestors(tree, len(tree))) == 0


@given(rows())
def test_segments_are_the_longest_runs_that_do_not_branch(given_rows: Rows) -> None:
    tree = build_tree(as_sequences(given_rows))
    parent = [int(above[-1]) if len(above := ancestors(tree, node)) else -1 for node in range(len(tree))]
    children = [parent.count(node) for node in range(len(tree))]
    starts = [n for n in range(len(tree)) if not (n and parent[n] == n - 1 and children[n - 1] == 1)]
    assert tree.segment_start.tolist() == [*starts, len(tree)]
    for segment, start in enumerate(starts):
        up = tree.segment_parent[segment]
        assert (up < 0) == (parent[start] < 0)
        if up >= 0:
            assert tree.segment_start[up + 1] - 1 == parent[start]


@given(rows(), st.randoms(use_true_random=False))
def test_the_order_of_the_requests_changes_only_their_numbers(
    given_rows: Rows, chance: random.Random
) -> None:
    order = list(range(len(given_rows)))
    chance.shuffle(order)
    tree = build_tree(as_sequences(given_rows))
    shuffled = build_tree(as_sequences([given_rows[i] for i in order]))
    for field in ("tokens", "pos", "end", "segment_start", "segment_parent", "wanted_node"):
        assert np.array_equal(getattr(tree, field), getattr(shuffled, field)), field
    wanted = zip(tree.wanted_node, tree.wanted_token, tree.wanted_sequence, strict=True)
    again = zip(
        shuffled.wanted_node, shuffled.wanted_token, (order[i] for i in shuffled.wanted_sequence), strict=True
    )
    assert sorted(wanted) == sorted(again)


@given(rows())
def test_the_nodes_are_the_distinct_prefixes(given_rows: Rows) -> None:
    assert len(build_tree(as_sequences(given_rows))) == len(prefixes(given_rows))


@pytest.mark.parametrize(
    ("given_rows", "unique"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([([7, 8], 1)], 1, id="a single input token"),
        pytest.param([([7, 8], 1), ([7, 9], 1)], 1, id="choices of one token share the whole input"),
        pytest.param([([1, 2, 3, 4], 2)] * 3, 3, id="duplicates"),
        pytest.param([([1, 2, 3, 4], 1), ([1, 2, 3, 4, 5, 6], 4)], 5, id="a prefix of another"),
        pytest.param([([1, 2, 3, 4], 1), ([2, 3, 4, 5], 1)], 6, id="a window moved by one shares nothing"),
        pytest.param([([2_000_000_000, 255, 256], 1), ([255, 256, 1], 1)], 4, id="ids beyond one byte"),
    ],
)
def test_the_number_of_unique_tokens_is_known_for(given_rows: Rows, unique: int) -> None:
    assert len(build_tree(as_sequences(given_rows))) == unique


def test_a_long_shared_prefix_of_many_requests_is_kept_once() -> None:
    chance = random.Random(0)
    shared = [chance.randrange(50_000) for _ in range(1_500)]
    given_rows = [
        ([*shared, 60_000 + i, *(chance.randrange(50_000) for _ in range(59))], 1) for i in range(400)
    ]
    tree = build_tree(as_sequences(given_rows))
    assert len(tree) == 1_500 + 400 * 59
    assert tree.pos.max() == 1_558
    assert tree.end[0] == len(tree)
