"""One file knows where records lie."""

from __future__ import annotations

import ast
from pathlib import Path

from milepost.store.layout import KINDS_WITH_PLACES, RECORD_KINDS, RESULT_KINDS

SOURCE = Path(__file__).resolve().parents[2] / "src" / "milepost"


def test_no_other_file_spells_the_folder_of_the_records() -> None:
    spelled = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value == "store"
    ]
    assert spelled == ["store/layout.py"]


def test_what_is_handed_in_is_verified() -> None:
    assert set(RESULT_KINDS) < set(RECORD_KINDS)
    assert {"runs", "workers"} <= KINDS_WITH_PLACES
    assert not {"docs", "scores", "metrics"} & KINDS_WITH_PLACES
