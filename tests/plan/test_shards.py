"""A task is cut into shards that are named by what they ask."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.plan.encode import EncodedTask
from milepost.plan.plan import Plan, TaskPlan
from milepost.plan.plan_files import load_plan, save_plan
from milepost.plan.shards import cut_into_shards, requests_of, shard_sequences
from milepost.types.requests import Request
from milepost.types.sequences import Sequences


def make_encoded(docs: list[list[list[int]]]) -> tuple[EncodedTask, np.ndarray]:
    """One request per innermost list, whose numbers are the lengths of its sequences."""
    lengths: list[int] = []
    request_of: list[int] = []
    doc_ids: list[int] = []
    for doc_id, requests in enumerate(docs):
        for sequence_lengths in requests:
            request_of += [len(doc_ids)] * len(sequence_lengths)
            lengths += sequence_lengths
            doc_ids.append(doc_id)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    sequences = Sequences(
        tokens=np.arange(starts[-1], dtype=np.int32),
        starts=starts,
        n_targets=np.ones(len(lengths), dtype=np.int32),
    )
    encoded = EncodedTask(
        sequences=sequences,
        request_of=np.asarray(request_of, dtype=np.int32),
        n_requests=len(doc_ids),
        n_truncated=0,
    )
    return encoded, np.asarray(doc_ids, dtype=np.int64)


docs_strategy = st.lists(
    st.lists(st.lists(st.integers(2, 9), max_size=3), min_size=1, max_size=4), min_size=1, max_size=20
).filter(lambda docs: any(request for doc in docs for request in doc))


@given(docs=docs_strategy, shard_tokens=st.integers(1, 200))
def test_shards_hold_every_request_once_and_whole_docs(docs: list[Any], shard_tokens: int) -> None:
    encoded, doc_ids = make_encoded(docs)
    shards = cut_into_shards(encoded, doc_ids, shard_tokens)
    assert shards[0].first == 0
    assert shards[-1].last == encoded.n_requests
    for before, after in pairwise(shards):
        assert before.last == after.first
        assert doc_ids[before.last - 1] != doc_ids[after.first]
    tokens = np.concatenate([shard_sequences(encoded, shard).tokens for shard in shards])
    assert tokens.tolist() == encoded.sequences.tokens.tolist()
    requests = np.concatenate([requests_of(encoded, shard) + shard.first for shard in shards])
    assert requests.tolist() == encoded.request_of.tolist()


def test_a_shard_has_the_same_name_wherever_it_is_cut_from() -> None:
    encoded, doc_ids = make_encoded([[[5]], [[6]], [[7]]])
    alone, alone_ids = make_encoded([[[5]]])
    assert (
        cut_into_shards(encoded, doc_ids, 5)[0].shard_id == cut_into_shards(alone, alone_ids, 99)[0].shard_id
    )


def test_a_prefix_that_docs_share_is_counted_once() -> None:
    prefix = list(range(50))
    rows = [[*prefix, 100 + doc, 200 + doc] for doc in range(10)]
    encoded = EncodedTask(
        sequences=Sequences(
            tokens=np.asarray([token for row in rows for token in row], dtype=np.int32),
            starts=np.arange(11, dtype=np.int64) * 52,
            n_targets=np.ones(10, dtype=np.int32),
        ),
        request_of=np.arange(10, dtype=np.int32),
        n_requests=10,
        n_truncated=0,
    )
    assert len(cut_into_shards(encoded, np.arange(10), 80)) == 1
    assert len(cut_into_shards(encoded, np.arange(10), 60)) == 2


@pytest.mark.parametrize("change", ["token", "target", "request"])
def test_a_changed_question_gives_the_shard_another_name(change: str) -> None:
    encoded, doc_ids = make_encoded([[[5, 6]], [[7]]])
    before = cut_into_shards(encoded, doc_ids, 1000)[0].shard_id
    tokens, n_targets = encoded.sequences.tokens.copy(), encoded.sequences.n_targets.copy()
    request_of = encoded.request_of.copy()
    if change == "token":
        tokens[3] += 1
    elif change == "target":
        n_targets[1] += 1
    else:
        request_of[1] = 1
    changed = EncodedTask(
        sequences=Sequences(tokens=tokens, starts=encoded.sequences.starts, n_targets=n_targets),
        request_of=request_of,
        n_requests=2,
        n_truncated=0,
    )
    assert cut_into_shards(changed, doc_ids, 1000)[0].shard_id != before


def test_a_plan_survives_saving(tmp_path: Path) -> None:
    encoded, _ = make_encoded([[[5], [4]], [[6], [3]]])
    requests = [Request("loglikelihood", doc, index, "c", "d") for doc in (0, 1) for index in (0, 1)]
    docs: dict[str, list[Any]] = {"doc_id": [0, 1], "doc_hash": ["a", "b"], "target_hash": ["c", "d"]}
    task = TaskPlan.build("t", requests, docs, encoded, 6)
    plan = Plan(tasks=(task,), tokenizer_id="x", max_length=8, settings={"counting": {"v": 1}})
    save_plan(plan, tmp_path / "plan", lambda task, path: pq.write_table(task.docs.table(), path))
    loaded = load_plan(tmp_path / "plan")
    assert loaded.plan_id == plan.plan_id
    assert loaded.tasks[0].shards == task.shards
    assert loaded.tasks[0].docs.table().to_pydict() == docs
    assert not list(tmp_path.glob(".*"))
