"""The table as text: figures, marks, gaps, and the lines below."""

from __future__ import annotations

from milepost.analysis import rows
from milepost.report.scores import grids, legend
from tests.analysis.made import accuracy, measurement, perplexity


def test_a_cell_is_the_value_and_half_its_interval() -> None:
    (grid,) = grids(rows([accuracy(value=0.5, n=1000)]))
    assert grid.columns[0].cells[0].text == "0.5000 ± 0.0310"


def test_halves_that_differ_are_both_given() -> None:
    (grid,) = grids(rows([accuracy(value=0.0, n=100)]))
    assert grid.columns[0].cells[0].text == "0.0000 −0.0000 +0.0461"
    assert "two halves" in legend([grid])


def test_a_perplexity_has_five_digits_whatever_its_size() -> None:
    (grid,) = grids(rows([perplexity(value=v, step=i) for i, v in enumerate((54321.9, 23.41234, 3.2e9))]))
    assert [cell.text for cell in grid.columns[0].cells] == ["54322", "23.412", "3.200e+09"]


def test_the_best_of_each_column_is_marked_and_so_are_its_equals() -> None:
    found = [accuracy(value=v, n=50, step=s) for s, v in ((1, 0.3), (2, 0.5), (3, 0.5))]
    found += [perplexity(value=v, step=s) for s, v in ((1, 9.0), (2, 8.0), (3, 10.0))]
    (grid,) = grids(rows(found))
    assert [[cell.best for cell in column.cells] for column in grid.columns] == [
        [False, True, True],
        [False, True, False],
    ]


def test_a_single_checkpoint_is_not_the_best_of_anything() -> None:
    (grid,) = grids(rows([measurement()]))
    assert not grid.columns[0].cells[0].best


def test_not_measured_and_no_number_are_told_apart() -> None:
    found = [accuracy(value=0.3, n=50, task="a", step=step) for step in (1, 2)]
    found += [measurement(task="b", step=1, value=None, stderr=None)]
    (grid,) = grids(rows(found))
    assert [cell.text for cell in grid.columns[1].cells] == ["nan", "–"]
    assert "nan: no number can be given; – not measured" in legend([grid])


def test_the_legend_explains_only_marks_that_are_there() -> None:
    assert legend(grids(rows([measurement()]))) == "± is half of the 95 % interval"


def test_columns_say_metric_filter_and_direction() -> None:
    found = [measurement(metric="exact_match", filter="strict-match"), perplexity(value=3.0)]
    (grid,) = grids(rows(found))
    assert [column.metric for column in grid.columns] == ["exact_match (strict-match) ↑", "word_perplexity ↓"]


def test_chance_and_docs_stand_below() -> None:
    (grid,) = grids(rows([accuracy(value=0.3, n=n, step=n) for n in (1000, 14042)]))
    assert (grid.columns[0].chance, grid.columns[0].docs) == ("0.2500", "1,000–14,042")


def test_a_checkpoint_without_a_step_of_its_own_goes_by_its_name() -> None:
    places = [("main", None), ("a-7", 7), ("b-7", 7), ("c-8", 8)]
    (grid,) = grids(rows([measurement(checkpoint=name, step=step) for name, step in places]))
    assert grid.steps == ("a-7", "b-7", "8", "main")


def test_control_characters_are_spelt_out() -> None:
    (grid,) = grids(rows([measurement(series="a\x1b[31m\u202eb", task="x\ny")]))
    assert grid.series == "a\\x1b[31m\\u202eb"
    assert grid.columns[0].task == "x\\ny"


def test_a_checkpoint_whose_answers_were_nan_does_not_read_as_not_measured() -> None:
    found = [
        accuracy(value=0.3, n=50, step=1),
        measurement(step=2, value=None, stderr=None, n=0, reason="NaN"),
    ]
    (grid,) = grids(rows(found))
    assert [cell.text for cell in grid.columns[0].cells][1] == "nan"
