"""Write and read the columns of `doc_metrics`, the tables of metrics per doc: a prefix, then the metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from milepost.files.arrow import as_array

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER, _JSON, _VALUE = "metric:", "json:", "value:"
"""A metric that is a number; one that is a number only once aggregated, as JSON; a doc's own number in the
aggregate."""
_BY_PREFERENCE = (_VALUE, _NUMBER, _JSON)
"""A doc's own number is preferred to what lm_eval aggregates."""


def doc_columns(
    metrics: Mapping[str, Sequence[Any]], values: Mapping[str, Sequence[float | None]]
) -> dict[str, list[Any]]:
    """Return the columns that hold the metrics of D docs.

    Args:
        metrics: metric to [D] numbers, or to what lm_eval aggregates (such as a log-likelihood and a word
            count).
        values: metric to [D] numbers in the aggregate's unit, of metrics that are means over docs.
    """
    import numpy as np

    columns: dict[str, list[Any]] = {f"{_VALUE}{metric}": list(own) for metric, own in values.items()}
    for metric, given in metrics.items():
        if all(value is None or isinstance(value, int | float | np.number | np.bool_) for value in given):
            columns[f"{_NUMBER}{metric}"] = [None if value is None else float(value) for value in given]
        else:
            columns[f"{_JSON}{metric}"] = [json.dumps(value, default=_plain) for value in given]
    return columns


def harness_metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of one doc, as lm_eval's sample files have them, from a row of the table."""
    found = {}
    for column, value in row.items():
        prefix, metric = _split(column)
        if prefix in (_NUMBER, _JSON) and value is not None:
            found[metric] = json.loads(value) if prefix == _JSON else value
    return found


def columns_of(metric: str) -> list[str]:
    """Return the columns that a `DocMetricsTable` needs for one metric; a table has some of them."""
    return ["doc_id", "filter", *(f"{prefix}{metric}" for prefix in _BY_PREFERENCE)]


class DocMetricsTable:
    """The metrics of the docs of one task at one checkpoint: a row per doc and filter."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.metrics = list(dict.fromkeys(m for prefix, m in map(_split, table.column_names) if prefix))
        """Names of the metrics."""
        self.filters: dict[str, dict[int, int]] = {}
        """By filter: doc id to row, in the order of the rows."""
        filters, doc_ids = table["filter"].to_pylist(), table["doc_id"].to_pylist()
        for row, (name, doc_id) in enumerate(zip(filters, doc_ids, strict=True)):
            self.filters.setdefault(name, {})[doc_id] = row

    def values(self, metric: str, filter_name: str, doc_ids: Sequence[int] | None = None) -> Any:
        """Return [D] values: an array of numbers, or a list with None where a doc does not count.

        A value is a number, or what lm_eval aggregates (a log-likelihood and its number of words); a doc's
        own number is preferred.

        Args:
            doc_ids: [D] the docs wanted; None for all, in the order of the table.

        Returns:
            None where the table has no value of the metric.
        """
        row_of = self.filters.get(filter_name, {})
        rows = list(row_of.values()) if doc_ids is None else [row_of.get(doc_id) for doc_id in doc_ids]
        for prefix in _BY_PREFERENCE:
            name = f"{prefix}{metric}"
            if name not in self._table.column_names:
                continue
            column = self._table[name]
            known = [row for row in rows if row is not None]
            if prefix != _JSON and not column.null_count and len(known) == len(rows) > 0:
                return as_array(column)[known]
            stored = column.to_pylist()
            given = [None if row is None else stored[row] for row in rows]
            if any(value is not None for value in given):
                is_json = prefix == _JSON
                return [json.loads(value) if is_json and value is not None else value for value in given]
        return None


def _split(column: str) -> tuple[str, str]:
    prefix, colon, metric = column.partition(":")
    return (f"{prefix}:", metric) if colon and f"{prefix}:" in _BY_PREFERENCE else ("", column)


def _plain(value: Any) -> Any:
    """Return a number of numpy as Python's own, and anything else as text."""
    import numpy as np

    return value.item() if isinstance(value, np.generic) else str(value)
