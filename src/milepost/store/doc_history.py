"""What the checkpoints of a series scored on the docs of one task or group, figure by figure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from milepost.arrow import as_array
from milepost.store.atomic_files import read_json
from milepost.store.folder import ResultsFolder, counted_id_of
from milepost.store.picks import read_picks
from milepost.store.reading import Current
from milepost.store.tables import read_table

PICKED = {
    "acc": "right",
    "acc_norm": "right_norm",
    "acc_tokens": "right_tokens",
    "acc_bytes": "right_bytes",
    "prob_right": "prob_right",
    "bpb_right": "bpb_right",
    "margin": "margin",
}
"""Figures that are means over the docs of a column of picks."""


class Part(NamedTuple):
    """The docs of one task at S checkpoints."""

    values: list[Any]
    """[S] of [D]: an array of numbers, or a list of what lm_eval aggregates, with None where a doc does not
    count."""
    weight: float
    """Of each doc in its group; 1 for a task alone."""


class DocHistory:
    """Reads docs' values of figures of a results folder; each file once.

    Args:
        results: the folder.
        current: its current figures, as `read_current` gives them.
        metrics: those that will be asked for.
    """

    def __init__(self, results: ResultsFolder, current: Iterable[Current], metrics: Collection[str]) -> None:
        self._results = results
        self._columns = tuple(column for metric, column in PICKED.items() if metric in metrics)
        self._of: dict[tuple[str, str], list[Current]] = {}
        for each in current:
            self._of.setdefault((each.series, each.task), []).append(each)
        self._plans: dict[str, dict[str, Any]] = {}
        self._picks: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}

    def parts(
        self, series: str, task: str, metric: str, filter_name: str, checkpoints: Collection[str]
    ) -> list[Part] | None:
        """The tasks that a figure is made of; None where the docs' values are not there for every checkpoint.

        Args:
            checkpoints: names of those that are wanted, such as all that have the figure.

        Raises:
            ResultsError: a damaged record.
        """
        every = [each for each in self._of[series, task] if each.checkpoint["checkpoint"] in checkpoints]
        if every[0].rows[0]["kind"] == "task":
            values = [self._task(each, task, metric, filter_name) for each in every]
            return None if any(one is None for one in values) else [Part(values, 1.0)]
        plan = self._plan(every[-1].plan_id)
        leaves = [name for name, of in plan["settings"]["tasks"].items() if task in of.get("parents", ())]
        sizes = {one["name"]: one["n_docs"] for one in plan["tasks"]}
        by_size = _weighs_by_size(plan, task, metric)
        parts = []
        for leaf in leaves:
            values = [self._task(each, leaf, metric, filter_name) for each in every]
            if any(one is None for one in values):
                return None
            parts.append(Part(values, 1.0 if by_size else 1.0 / sizes[leaf]))
        return parts or None

    def _task(self, each: Current, task: str, metric: str, filter_name: str) -> Any:
        if metric in PICKED and filter_name == "none":
            found = self._picks_of(each).get(task)
            if found is not None:
                return found[PICKED[metric]].astype(float)
        return self._stored(each, task, metric, filter_name)

    def _picks_of(self, each: Current) -> dict[str, dict[str, Any]]:
        file = each.plan_id, each.checkpoint["model_id"], each.checkpoint["numerics"]
        if file not in self._picks:
            path = self._results.picks_path(*file)
            self._picks[file] = read_picks(path, self._columns) if path.exists() else {}
        return self._picks[file]

    def _stored(self, each: Current, task: str, metric: str, filter_name: str) -> Any:
        tasks = self._plan(each.plan_id)["tasks"]
        counted = next((counted_id_of(one) for one in tasks if one["name"] == task), None)
        if counted is None:
            return None
        model = each.checkpoint["model_id"], each.checkpoint["numerics"]
        path = self._results.doc_metrics_path(counted, *model)
        if not path.exists():
            return None
        table = read_table(path)
        rows = [row for row, name in enumerate(table["filter"].to_pylist()) if name == filter_name]
        # A doc's own number wins over what lm_eval aggregates, as in `store.doc_records`.
        for column, read in (
            (f"value:{metric}", None),
            (f"metric:{metric}", None),
            (f"json:{metric}", json.loads),
        ):
            if column in table.column_names:
                whole = table[column].to_pylist() if read or table[column].null_count else None
                if whole is None:
                    return as_array(table[column])[rows]
                return [
                    None if whole[row] is None else read(whole[row]) if read else whole[row] for row in rows
                ]
        return None

    def _plan(self, plan_id: str) -> dict[str, Any]:
        if plan_id not in self._plans:
            self._plans[plan_id] = read_json(self._results.plan_path(plan_id))
        return self._plans[plan_id]


def _weighs_by_size(plan: Mapping[str, Any], group: str, metric: str) -> bool:
    """Whether the group's figure counts every doc alike; see lm_eval/api/group.py `AggMetricConfig`."""
    groups = plan["settings"].get("counting", {}).get("groups", {})  # {}: made by an earlier version
    listed = groups.get(group, {}).get("aggregate_metric_list") or []
    return next((bool(one["weight_by_size"]) for one in listed if one["metric"] == metric), True)
