"""Record a leaderboard: the table, and each published model as a run with level curves beside the others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from milepost.analysis.leaderboard import BoardColumn, Leaderboard, Standing
from milepost.recorders.metric_rows import curve_name
from milepost.recorders.recorder import RecordedRun, RecordedTable, Recorder


def record_board(
    board: Leaderboard, open_run: Callable[[RecordedRun], Recorder], project: str, folder: Path
) -> str:
    """Record the table in a run named `leaderboard`, and a run per published model; return where that is.

    A published model has its metrics at the first and the last step of the training runs.

    Args:
        folder: a place for the files of a recorder that has none.

    Raises:
        RecorderError: it cannot be recorded.
    """
    table = RecordedTable(
        "leaderboard",
        ("model", "checkpoint", "step", "win rate", "mean rank", *map(_name, board.columns)),
        [
            [one.name, one.checkpoint, one.step, one.win_rate.value, one.rank.value, *one.scores]
            for one in board.standings
        ],
    )
    steps = sorted(one.step for one in board.standings if one.step is not None)
    published = [one for one in board.standings if one.checkpoint is None]

    def opened(name: str, config: dict[str, object]) -> Recorder:
        run_id = hashlib.sha256(f"{project}\n{name}".encode()).hexdigest()[:16]
        return open_run(RecordedRun(project=project, run_id=run_id, name=name, folder=folder, config=config))

    whole = opened("leaderboard", {"models": [one.name for one in board.standings]})
    whole.log(max(steps, default=None), {}, [table])
    whole.close()
    for model in published:
        run = opened(model.name, {"source": model.source})
        for step in dict.fromkeys((steps or [0])[:1] + steps[-1:]):
            run.log(step, _scores(model, board.columns), [])
        run.close()
    return whole.where


def _scores(model: Standing, columns: tuple[BoardColumn, ...]) -> dict[str, float]:
    return {
        _name(column): score for column, score in zip(columns, model.scores, strict=True) if score is not None
    }


def _name(column: BoardColumn) -> str:
    return curve_name(column.task, column.metric, column.filter)
