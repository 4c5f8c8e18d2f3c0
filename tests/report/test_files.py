"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from milepost.analysis import rows
from milepost.errors import ResultsError
from milepost.report.chart_files import words_of_picture, write_chart
from milepost.report.charts.curves import curve
from milepost.report.files import check_target, write_file
from milepost.text.language import speaking
from tests.analysis.made import measurement, rising


@pytest.fixture(scope="module")
def chart() -> Any:
    return curve(rows([measurement(step=s, series="run\ue123") for s in (1, 2)]))


def test_a_png_is_a_picture_and_missing_glyphs_are_told(chart: Any, tmp_path: Path) -> None:
    notices = write_chart(chart, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert len(notices) == 1
    assert "U+E123" in notices[0]


def test_an_svg_keeps_its_text_as_text(chart: Any, tmp_path: Path) -> None:
    assert write_chart(chart, tmp_path / "curve.SVG") == []
    assert "arc_easy" in (tmp_path / "curve.SVG").read_text("utf-8")


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"ends in `\.gif`") as error:
        check_target(tmp_path / "curve.gif", (".png", ".svg"))
    assert error.value.hint == "the name says the format: .png, .svg"


def test_no_folder_is_made_for_a_misspelt_path(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is not a folder"):
        write_file(tmp_path / "nowhere" / "curve.png", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is a folder"):
        write_file(tmp_path, b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsError, match="cannot write"):
        write_file(tmp_path / "curve.png", b"")
    tmp_path.chmod(0o700)


def test_a_write_that_fails_leaves_the_older_file_and_no_scraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "rows.csv"
    target.write_bytes(b"old")

    def no_space(_source: Any, _target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(ResultsError, match="No space left on device"):
        write_file(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert target.read_bytes() == b"old"


def test_a_picture_speaks_english_where_no_font_here_draws_the_readers_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A PNG is drawn here; what SVG and HTML say is drawn with the reader's fonts."""
    said = {}
    for has_font in (True, False):
        missing: set[str] = set() if has_font else set("步")
        monkeypatch.setattr(
            "milepost.report.chart_files.missing_glyphs", lambda text, m=missing: m & set(text)
        )
        for suffix in (".png", ".svg", ".html"):
            with speaking("zh-CN"), words_of_picture(Path(f"curve{suffix}")):
                chart = curve(rows(rising("t", [1, 2, 3], low=0.3, high=0.6, n=400))).to_dict()
            said[has_font, suffix] = "阴影：95 % 区间" in chart["title"]["subtitle"][0]
    assert [key for key, is_chinese in said.items() if not is_chinese] == [(False, ".png")]
