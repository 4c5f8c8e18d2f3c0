"""Build the final table of a recorded run: its checkpoints, ranked over its tasks.

`milepost leaderboard` ranks training runs against each other, with intervals; this table ranks the
checkpoints of one run by the same formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from milepost.analysis import Row
from milepost.analysis.curves import Curve, checkpoints, curves
from milepost.analysis.leaderboard.formulas import mean_rank, mean_win_rate
from milepost.analysis.selection import summary_rows
from milepost.recorders.recorder import Cell, RecordedTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def final_table(rows: Sequence[Row]) -> RecordedTable:
    """Rank checkpoints by mean win rate, with a column for the first metric of each group and lone task.

    Win rate and rank are over the columns in which higher or lower is better; missing values are empty.

    Args:
        rows: all rows of one series.
    """
    shown = curves(summary_rows(rows))
    ((_, visits),) = checkpoints(summary_rows(rows)).items()
    ranked = [curve for curve in shown if curve.rows[0].higher_is_better is not None]
    win_rates, ranks = _over_columns(ranked, len(visits))
    lines: list[list[Cell]] = [
        [visit.checkpoint, visit.step, win_rates[i], ranks[i], *(curve.rows[i].value for curve in shown)]
        for i, visit in enumerate(visits)
    ]
    order = sorted(range(len(visits)), key=lambda i: (-(win_rates[i] or 0.0), i))
    names = [f"{curve.task}/{curve.metric}" for curve in shown]
    return RecordedTable(
        "leaderboard", ("checkpoint", "step", "win rate", "mean rank", *names), [lines[i] for i in order]
    )


def _over_columns(
    ranked: Sequence[Curve], n_checkpoints: int
) -> tuple[list[float | None], list[float | None]]:
    """Return mean win rate and mean rank of each checkpoint; None if it has nothing to compare with."""
    import numpy as np

    if not ranked or n_checkpoints < 2:
        return [None] * n_checkpoints, [None] * n_checkpoints
    scores_BMK = np.full((1, n_checkpoints, len(ranked)), np.nan)
    for column, curve in enumerate(ranked):
        sign = 1.0 if curve.rows[0].higher_is_better else -1.0
        for i, row in enumerate(curve.rows):
            if row.value is not None:
                scores_BMK[0, i, column] = sign * row.value
    return _without_nan(mean_win_rate(scores_BMK)[0]), _without_nan(mean_rank(scores_BMK)[0])


def _without_nan(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
