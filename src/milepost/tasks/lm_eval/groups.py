"""Aggregate metrics that lm_eval does not have for its groups, as lm_eval aggregates its own.

Source: lm_eval/api/group.py `Group.aggregate`; lm_eval/api/metrics.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from lm_eval.api.group import Group
from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr, unweighted_mean_stderr

from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.types.metrics import Estimate
from milepost.types.picks import PickCounts

Number = TypeVar("Number", int, float)


def group_metrics(
    loaded: LoadedTasks, metrics: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
) -> dict[str, dict[str, Estimate]]:
    """Return the mean over a group's tasks, by group and metric, weighted by docs where the group says so.

    A metric that is not in the group's list is weighted as the first metric of the list. A group without a
    list has no metrics, as in lm_eval, nor has a group a metric that one of its tasks lacks.

    Args:
        metrics: by task and metric.
        sizes: docs of each task.
    """
    return {name: _means(group, metrics, sizes) for name, group in loaded.groups.items()}


def group_picks(loaded: LoadedTasks, picks: Mapping[str, PickCounts]) -> dict[str, PickCounts]:
    """Return the picks of each group's tasks; the accuracy of a constant answer is weighted as `acc` is."""
    found = {}
    for name, group in loaded.groups.items():
        leaves = [picks.get(leaf) for leaf in _leaves(group)]
        known = [leaf for leaf in leaves if leaf is not None]
        if known and len(known) == len(leaves) and group.aggregate_metric_list:
            found[name] = _added(known, weigh=_weighs_by_size(group, "acc"))
    return found


def _means(
    group: Group, metrics: Mapping[str, Mapping[str, Estimate]], sizes: Mapping[str, int]
) -> dict[str, Estimate]:
    leaves = _leaves(group)
    if not group.aggregate_metric_list or not all(leaf in metrics for leaf in leaves):
        return {}
    n_docs = [sizes[leaf] for leaf in leaves]
    shared = [metric for metric in metrics[leaves[0]] if all(metric in metrics[leaf] for leaf in leaves)]
    return {
        metric: _mean([metrics[leaf][metric] for leaf in leaves], n_docs, _weighs_by_size(group, metric))
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
    elif len(errors) == len(parts) and sum(sizes) > len(sizes):  # a single doc has no spread to pool
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
    return [sum(counts[i] for counts in lists if i < len(counts)) for i in range(longest)]


def _leaves(group: Group) -> list[str]:
    return [task.task_name for task in group.get_all_tasks()]


def _weighs_by_size(group: Group, metric: str) -> bool:
    listed = group.aggregate_metric_list
    own = [entry for entry in listed if entry.metric == metric]
    return bool((own or listed)[0].weight_by_size)
