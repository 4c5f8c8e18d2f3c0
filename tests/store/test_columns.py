"""The columns of metrics per doc: numbers, what is aggregated later, and a doc's own number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from milepost.store.columns import DocMetricsTable, doc_columns, harness_metrics


def table(metrics: dict[str, list[Any]], values: dict[str, list[Any]] | None = None) -> pa.Table:
    columns = {"doc_id": [0, 1, 3], "filter": ["none"] * 3, **doc_columns(metrics, values or {})}
    return pa.table(columns)


def test_numbers_come_back_as_an_array_and_pairs_as_lists() -> None:
    docs = DocMetricsTable(table({"acc": [np.float32(1), 0, True], "ppl": [(-1.5, 2), None, (-3.0, 4)]}))
    assert docs.metrics == ["acc", "ppl"]
    acc = docs.values("acc", "none")
    assert isinstance(acc, np.ndarray)
    assert acc.tolist() == [1.0, 0.0, 1.0]
    assert docs.values("ppl", "none") == [[-1.5, 2], None, [-3.0, 4]]


def test_a_docs_own_number_is_preferred() -> None:
    docs = DocMetricsTable(table({"f1": [("a", 1), ("b", 2), ("c", 3)]}, {"f1": [50.0, None, 100.0]}))
    assert docs.values("f1", "none") == [50.0, None, 100.0]


def test_docs_are_given_in_the_order_asked_for() -> None:
    docs = DocMetricsTable(table({"acc": [1, 2, 3]}))
    assert list(docs.values("acc", "none", [3, 0])) == [3.0, 1.0]
    assert docs.values("acc", "none", [3, 2]) == [3.0, None]
    assert docs.values("acc", "strict", [3]) is None
    assert docs.values("f1", "none") is None


def test_lm_evals_files_get_no_number_of_ours() -> None:
    row = table({"f1": [("a", 1), ("b", 2), None], "acc": [1, 0, 1]}, {"f1": [1.0, 2.0, 3.0]}).to_pylist()[0]
    assert harness_metrics(row) == {"f1": ["a", 1], "acc": 1.0}
