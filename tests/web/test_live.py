"""Events of a folder that grows: shards at once, metrics by a number, damaged records by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from milepost.store import ResultsFolder
from milepost.web import live
from milepost.web.live import Events, LiveFolders
from tests.analysis.made import rising, write_results


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(live, "INTERVAL_S", 0.02)
    return write_results(tmp_path / "results", rising("arc_easy", [1, 2], low=0.2, high=0.5, n=50))


def events_of(path: Path) -> Events:
    return Events(LiveFolders([path]), lambda moment, language: f"{language} {moment.shards}")


async def next_of(stream: AsyncIterator[bytes]) -> dict[str, Any]:
    raw = await asyncio.wait_for(anext(stream), 30)
    found: dict[str, Any] = json.loads(raw.removeprefix(b"data: "))
    return found


def test_the_first_event_says_how_it_is(folder: Path) -> None:
    async def look() -> dict[str, Any]:
        events = events_of(folder)
        stream = events.stream("zh")
        found = await next_of(stream)
        events.end()
        assert [event async for event in stream] == []
        return found

    assert asyncio.run(look()) == {"records": 1, "shards": 1, "progress": "zh 1"}


def test_new_metrics_raise_the_number_of_the_records(folder: Path) -> None:
    async def look() -> list[int]:
        events = events_of(folder)
        stream = events.stream("en")
        first = await next_of(stream)
        write_results(folder, rising("piqa", [3], low=0.5, high=0.5, n=50))
        while (second := await next_of(stream))["records"] == first["records"]:
            continue
        events.end()
        return [first["records"], second["records"]]

    before, after = asyncio.run(look())
    assert after > before


def test_two_readers_get_the_same_event(folder: Path) -> None:
    async def look() -> list[dict[str, Any]]:
        events = events_of(folder)
        streams = [events.stream("en"), events.stream("en")]
        firsts = [await next_of(stream) for stream in streams]
        (folder / "store" / "checkpoints" / "run" / "step-1.json").touch()
        seconds = [await next_of(stream) for stream in streams]
        events.end()
        return firsts + seconds

    found = asyncio.run(look())
    assert found[0] == found[1]
    assert found[2] == found[3] != found[0]


def test_nobody_is_told_of_a_folder_that_is_gone_and_the_server_goes_on(folder: Path) -> None:
    async def look() -> dict[str, Any]:
        events = events_of(folder)
        stream = events.stream("en")
        first = await next_of(stream)
        marker = ResultsFolder(folder).marker_path
        kept = marker.read_bytes()
        marker.unlink()
        await asyncio.sleep(0.1)
        marker.write_bytes(kept)
        events.end()
        return first

    assert asyncio.run(look())["records"] == 1
