"""What later pages need is read while no page is asked for, and only once a reader is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from milepost.web import preparation
from milepost.web.live import LiveFolders
from milepost.web.preparation import Preparation


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody seems to wait after a short time."""
    monkeypatch.setattr(preparation, "QUIET_S", 0.05)


def wait_for(happened: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)


def test_texts_are_read_once_a_reader_is_there(real_results: Path) -> None:
    folders = LiveFolders([real_results])
    view = folders.now().view
    made = Preparation(folders)
    made.start()
    time.sleep(0.3)
    assert not view.questions.has_texts
    with made.reader():
        pass
    wait_for(lambda: view.questions.has_texts)
    assert view.questions.has_texts


def test_nothing_is_read_while_a_reader_waits(real_results: Path) -> None:
    folders = LiveFolders([real_results])
    view = folders.now().view
    made = Preparation(folders)
    with made.reader():
        with made.reader():
            pass
        made.start()
        time.sleep(0.3)
        assert not view.questions.has_texts
    wait_for(lambda: view.questions.has_texts)
    assert view.questions.has_texts
