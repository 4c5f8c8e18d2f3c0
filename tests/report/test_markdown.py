"""Tables as Markdown."""

from __future__ import annotations

from milepost.analysis import rows
from milepost.report.markdown import markdown
from milepost.report.scores import score_report
from tests.analysis.made import accuracy, measurement


def test_a_markdown_table_has_equally_many_cells_in_every_line() -> None:
    text = markdown(score_report(rows([measurement(task=t, step=s) for t in ("a|b", "c") for s in (1, 2)])))
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 6
    assert {line.count("|") for line in lines} == {4}


def test_the_best_is_bold_and_starred() -> None:
    text = markdown(score_report(rows([accuracy(value=v, n=1000, step=s) for s, v in ((1, 0.1), (2, 0.4))])))
    assert r"| 2 | **\* 0.4000 ± 0.0304** |" in text


def test_foreign_names_cannot_become_markup() -> None:
    text = markdown(score_report(rows([measurement(series="<img src=x>_a_", task="[x](y)")])))
    assert r"\<img src=x\>\_a\_" in text
    assert r"\[x\](y)" in text
