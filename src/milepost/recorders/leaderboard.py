"""The last table of a recorded run, its checkpoints ranked over its tasks: here, and only here, it is made.

`milepost leaderboard` ranks training runs against each other, with intervals; within one run there are its
checkpoints to rank, by the same formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from milepost.analysis import Row
from milepost.analysis.curves import Curve, checkpoints, curves
from milepost.analysis.leaderboard.formulas import mean_rank, mean_win_rate
from milepost.analysis.selection import summary_rows
from milepost.recorders.recorder import Cell, RecordedTable


def final_table(rows: Sequence[Row]) -> RecordedTable:
    """The best checkpoint by mean win rate first; a column for the first metric of each group and lone task.

    Win rate and rank are over the columns that have a better and a worse; gaps are empty.

    Args:
        rows: every figure of one series.
    """
    shown = curves(summary_rows(rows))
    ((_, places),) = checkpoints(summary_rows(rows)).items()
    ranked = [curve for curve in shown if curve.rows[0].higher_is_better is not None]
    win_rates, ranks = _over_columns(ranked, len(places))
    lines: list[list[Cell]] = [
        [place.checkpoint, place.step, win_rates[i], ranks[i], *(curve.rows[i].value for curve in shown)]
        for i, place in enumerate(places)
    ]
    order = sorted(range(len(places)), key=lambda i: (-(win_rates[i] or 0.0), i))
    names = [f"{curve.task}/{curve.metric}" for curve in shown]
    return RecordedTable(
        "leaderboard", ("checkpoint", "step", "win rate", "mean rank", *names), [lines[i] for i in order]
    )


def _over_columns(ranked: Sequence[Curve], n_places: int) -> tuple[list[float | None], list[float | None]]:
    """Mean win rate and mean rank of each checkpoint; None where there is nothing to compare it with."""
    import numpy as np

    if not ranked or n_places < 2:
        return [None] * n_places, [None] * n_places
    scores_BMK = np.full((1, n_places, len(ranked)), np.nan)
    for column, curve in enumerate(ranked):
        sign = 1.0 if curve.rows[0].higher_is_better else -1.0
        for i, row in enumerate(curve.rows):
            if row.value is not None:
                scores_BMK[0, i, column] = sign * row.value
    return _plain(mean_win_rate(scores_BMK)[0].tolist()), _plain(mean_rank(scores_BMK)[0].tolist())


def _plain(values: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]
