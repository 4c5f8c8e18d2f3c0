"""Figures that lm_eval does not know, put together for its groups the way it puts its own together.

Source: lm_eval/api/group.py `Group.aggregate`; lm_eval/api/metrics.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from lm_eval.api.group import Group
from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr, unweighted_mean_stderr

from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.types import Estimate, PickCounts

Number = TypeVar("Number", int, float)


def group_metrics(
    loaded: LoadedTasks, figures: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
) -> dict[str, dict[str, Estimate]]:
    """By group and metric, the mean over its tasks, weighted by their docs where the group says so.

    A group counts a metric of its own list as the list says, any other as it counts the first of the list.
    One without a list has no figures in lm_eval and gets none here; nor does one of whose tasks one lacks
    the metric, for its mean would be of something else than its name says.

    Args:
        figures: by task and metric.
        sizes: docs of each task.
    """
    return {name: _figures(group, figures, sizes) for name, group in loaded.groups.items()}


def group_picks(loaded: LoadedTasks, picks: Mapping[str, PickCounts]) -> dict[str, PickCounts]:
    """By group, the picks of all its tasks; what a constant answer scores is weighted as the accuracy is."""
    found = {}
    for name, group in loaded.groups.items():
        leaves = [picks.get(leaf) for leaf in _leaves(group)]
        known = [leaf for leaf in leaves if leaf is not None]
        if known and len(known) == len(leaves) and group.aggregate_metric_list:
            found[name] = _added(known, weigh=_weighs_by_size(group, "acc"))
    return found


def _figures(
    group: Group, figures: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
) -> dict[str, Estimate]:
    leaves = _leaves(group)
    if not group.aggregate_metric_list or not all(leaf in figures for leaf in leaves):
        return {}
    n_docs = [sizes[leaf] for leaf in leaves]
    shared = [metric for metric in figures[leaves[0]] if all(metric in figures[leaf] for leaf in leaves)]
    return {
        metric: _mean([figures[leaf][metric] for leaf in leaves], n_docs, _weighs_by_size(group, metric))
        for metric in shared
    }


def _mean(parts: Sequence[Estimate], sizes: Sequence[int], weigh: bool) -> Estimate:
    n = sum(part.n for part in parts)
    chances = [part.chance for part in parts if part.chance is not None]
    weights = sizes if weigh else [1] * len(parts)
    chance = float(np.average(chances, weights=weights)) if len(chances) == len(parts) else None
    values = [part.value for part in parts if part.value is not None]
    if len(values) < len(parts):
        return Estimate(None, None, n, chance)
    errors = [part.stderr for part in parts if part.stderr is not None]
    stderr = None
    if len(errors) == len(parts) and not weigh:
        stderr = float(unweighted_mean_stderr(errors))
    elif len(errors) == len(parts) and sum(sizes) > len(sizes):  # one doc each have no spread to be pooled
        stderr = float(pooled_sample_stderr(errors, sizes))
    return Estimate(float(aggregate_subtask_metrics(values, sizes, weigh)), stderr, n, chance)


def _added(parts: Sequence[PickCounts], *, weigh: bool) -> PickCounts:
    weights = [part.n if weigh else 1 for part in parts]
    places = min(len(part.constant) for part in parts)
    return PickCounts(
        n=sum(part.n for part in parts),
        fixed=all(part.fixed for part in parts),
        picked=_sum([part.picked for part in parts]),
        right=_sum([part.right for part in parts]),
        constant=np.average([part.constant[:places] for part in parts], axis=0, weights=weights).tolist(),
        picked_by_length=_sum([part.picked_by_length for part in parts]),
        right_by_length=_sum([part.right_by_length for part in parts]),
    )


def _sum(lists: Sequence[list[Number]]) -> list[Number]:
    longest = max(map(len, lists))
    return [sum(each[i] for each in lists if i < len(each)) for i in range(longest)]


def _leaves(group: Group) -> list[str]:
    return [task.task_name for task in group.get_all_tasks()]


def _weighs_by_size(group: Group, metric: str) -> bool:
    listed = group.aggregate_metric_list
    own = [entry for entry in listed if entry.metric == metric]
    return bool((own or listed)[0].weight_by_size)
