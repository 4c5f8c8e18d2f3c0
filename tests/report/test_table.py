"""Tables as values, and as CSV and JSON."""

from __future__ import annotations

import json

import pytest

from milepost.report.csv_text import csv_text
from milepost.report.json_text import json_text
from milepost.report.table import Cell, Table, cells, columns, data_table, grouped

TABLE = Table(
    columns("task", "value", "docs", left=("task",)),
    (cells(["mmlu", Cell("0.5", "best"), "10"]),),
    footer=(cells(["chance", "0.25", ""]),),
)


def test_a_column_that_is_left_out_is_left_out_of_every_row() -> None:
    cut = TABLE.without(("value",))
    assert [column.name for column in cut.columns] == ["task", "docs"]
    assert [[cell.text for cell in row] for row in (*cut.rows, *cut.footer)] == [
        ["mmlu", "10"],
        ["chance", ""],
    ]


def test_csv_has_the_names_of_the_columns_and_quotes_what_needs_it() -> None:
    table = data_table([{"name": 'a "b", c', "value": 0.1}, {"name": "d", "value": None}], ["name", "value"])
    assert csv_text(table) == 'name,value\n"a ""b"", c",0.1\nd,\n'


def test_items_are_grouped_in_their_order() -> None:
    assert grouped([3, 1, 4, 1, 5], lambda number: number % 2) == {1: [3, 1, 1, 5], 0: [4]}


@pytest.mark.parametrize("text", ["Größe → 中", "not UTF-8: \udcff"])
def test_json_holds_any_text_and_can_be_encoded(text: str) -> None:
    assert json.loads(json_text({"text": text}).encode()) == {"text": text}


def test_json_of_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_text(float("nan"))
