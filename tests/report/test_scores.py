"""The table of scores as text: values, marks, gaps, and the lines below."""

from __future__ import annotations

from milepost.analysis import rows
from milepost.report.scores import legend, score_tables
from milepost.report.table import Table
from tests.analysis.made import accuracy, measurement, perplexity


def texts(table: Table, place: int) -> list[str]:
    """Return the cells of one column."""
    return [row[place].text for row in table.rows]


def test_a_cell_is_the_value_and_half_its_interval() -> None:
    (table,) = score_tables(rows([accuracy(value=0.5, n=1000)]))
    assert texts(table, 2)[0] == "0.5000 ± 0.0310"


def test_halves_that_differ_are_both_given() -> None:
    (table,) = score_tables(rows([accuracy(value=0.0, n=100)]))
    assert texts(table, 2)[0] == "0.0000 −0.0000 +0.0461"
    assert "two halves" in legend([table])


def test_a_perplexity_has_five_digits_whatever_its_size() -> None:
    (table,) = score_tables(
        rows([perplexity(value=v, step=i) for i, v in enumerate((54321.9, 23.41234, 3.2e9))])
    )
    assert texts(table, 1) == ["54322", "* 23.412", "3.200e+09"]


def test_the_best_of_each_column_is_marked_and_so_are_its_equals() -> None:
    found = [accuracy(value=v, n=500, step=s) for s, v in ((1, 0.3), (2, 0.5), (3, 0.5))]
    found += [perplexity(value=v, step=s) for s, v in ((1, 9.0), (2, 8.0), (3, 10.0))]
    (table,) = score_tables(rows(found))
    assert [[row[place].tone == "best" for row in table.rows] for place in (1, 2)] == [
        [False, True, True],
        [False, True, False],
    ]


def test_a_single_checkpoint_is_not_the_best_of_anything() -> None:
    (table,) = score_tables(rows([measurement()]))
    assert not table.rows[0][1].tone


def test_not_measured_and_no_number_are_told_apart() -> None:
    found = [accuracy(value=0.3, n=50, task="a", step=step) for step in (1, 2)]
    found += [measurement(task="b", step=1, value=None, stderr=None)]
    (table,) = score_tables(rows(found))
    assert texts(table, 2) == ["nan", "–"]
    assert "nan: no number can be given; – not measured" in legend([table])


def test_the_legend_explains_only_marks_that_are_there() -> None:
    assert legend(score_tables(rows([measurement()]))) == "± is half of the 95 % interval"
    named = measurement(metric="exact_match", filter="strict-match")
    assert legend(score_tables(rows([named]))) == "± is half of the 95 % interval"


def test_columns_say_metric_filter_and_direction() -> None:
    found = [measurement(metric="exact_match", filter="strict-match"), perplexity(value=3.0)]
    (table,) = score_tables(rows(found))
    assert texts(table, 1) == [
        "exact_match (strict-match) ↑",
        "word_perplexity ↓",
    ]


def test_chance_and_docs_stand_below() -> None:
    (table,) = score_tables(rows([accuracy(value=0.3, n=n, step=n) for n in (1000, 14042)]))
    assert [[cell.text for cell in row] for row in table.footer] == [
        ["chance", "0.2500"],
        ["docs", "1,000–14,042"],
    ]


def test_a_checkpoint_without_a_step_of_its_own_goes_by_its_name() -> None:
    places = [("main", None), ("a-7", 7), ("b-7", 7), ("c-8", 8)]
    (table,) = score_tables(rows([measurement(checkpoint=name, step=step) for name, step in places]))
    assert texts(table, 0) == ["a-7", "b-7", "8", "main"]


def test_control_characters_are_spelt_out() -> None:
    (table,) = score_tables(rows([measurement(series="a\x1b[31m\u202eb", task="x\ny")]))
    assert table.columns[2].lines[0] == "a\\x1b[31m\\u202eb"
    assert texts(table, 0) == ["x\\ny"]


def test_a_checkpoint_whose_answers_were_nan_does_not_read_as_not_measured() -> None:
    found = [
        accuracy(value=0.3, n=50, step=1),
        measurement(step=2, value=None, stderr=None, n=0, reason="NaN"),
    ]
    (table,) = score_tables(rows(found))
    assert texts(table, 1)[1] == "nan"
