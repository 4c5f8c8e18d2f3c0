"""Choices and picks come back as they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from milepost.analysis.choice_values import doc_metrics
from milepost.store.picks import PICK_COLUMNS, read_choices, read_picks, write_choices, write_picks
from tests.analysis.offers import letters, offered


def test_choices_come_back(tmp_path: Path) -> None:
    choices = offered("cat *dog", "*a b c")
    write_choices(tmp_path / "one.parquet", choices)
    back = read_choices(tmp_path / "one.parquet")
    for name in ("doc_id", "right", "chars", "bytes", "tokens"):
        assert getattr(back, name).tolist() == getattr(choices, name).tolist()
    assert back.fixed is False


def test_picks_come_back_by_task_in_the_order_of_the_plan(tmp_path: Path) -> None:
    docs = {
        task: doc_metrics(letters(np.array(right)), np.log(np.arange(1, 4 * len(right) + 1)))
        for task, right in {"zebra": [3, 0], "ant": [1]}.items()
    }
    columns = {task: {name: getattr(of, name) for name in PICK_COLUMNS} for task, of in docs.items()}
    path = tmp_path / "picks.parquet"
    write_picks(path, {task: of.doc_id for task, of in docs.items()}, columns)
    back = read_picks(path, ["pick", "right", "margin"])
    assert list(back) == ["zebra", "ant"]
    assert back["zebra"]["right"].tolist() == [True, False]
    assert back["ant"]["margin"].tolist() == docs["ant"].margin.astype(np.float32).tolist()
