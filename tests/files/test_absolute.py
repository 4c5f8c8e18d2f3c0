"""Absolute paths, beside links too."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.files.absolute import absolute_path


def test_the_folder_above_a_link_is_that_of_the_folder_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "work").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "work")
    monkeypatch.chdir(tmp_path)
    real = tmp_path.resolve()
    assert absolute_path(Path("link/../results/a")) == real / "disk" / "results" / "a"
    assert absolute_path(Path("link/a")) == tmp_path / "link" / "a"
    assert absolute_path(Path("../x/./y")) == real.parent / "x" / "y"
