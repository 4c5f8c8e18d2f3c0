"""Tell what the curves of a results folder show, from the docs or from what the last run noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from milepost.analysis.curves import Curve, curves
from milepost.analysis.improvement import CurveProgress
from milepost.analysis.intervals import Interval
from milepost.analysis.row import Row
from milepost.analysis.training import TrainedCurve, train_curve
from milepost.results.selection import select_rows
from milepost.store.curve_cache import read_cached_curves, write_cached_curves
from milepost.store.doc_history import DocHistory
from milepost.store.index import ResultsIndex


def read_training(index: ResultsIndex, shown: Sequence[Row]) -> list[TrainedCurve]:
    """Return what the curves among the rows show, in their order.

    Curves of metrics without a better and a worse are left out.

    What the last run noted (`note_training`) is taken from there, while it is still valid and of the same
    checkpoints: a damaged record may have left some out.

    Raises:
        ResultsError: a damaged record.
    """
    wanted = [curve for curve in curves(shown) if curve.best is not None]
    noted = {_key(entry): entry for entry in read_cached_curves(index.folder)}
    history: DocHistory | None = None
    found = []
    for curve in wanted:
        key = curve.series, curve.task, curve.metric, curve.filter
        if key in noted and noted[key]["points"] == _points(curve):
            found.append(_from_note(curve, noted[key]))
            continue
        if history is None:
            history = DocHistory(index, {curve.metric for curve in wanted})
        checkpoints = {row.checkpoint for row in curve.measured}
        found.append(train_curve(curve, history.parts(*key, checkpoints) or []))
    return found


def read_summary_training(index: ResultsIndex) -> list[TrainedCurve]:
    """Return what the curves show that `milepost show` has by default; empty before the first metric."""
    return read_training(index, select_rows(index, gaps=False)) if index.scored else []


def note_training(path: Path) -> None:
    """Keep what the curves of `milepost show` tell, so that `show` need not read docs.

    Nothing is done where nothing has changed since it was kept.

    Raises:
        ResultsError: a damaged record, or the disk is full.
    """
    index = ResultsIndex.open(path)
    if read_cached_curves(index.folder):
        return
    if found := read_summary_training(index):
        write_cached_curves(index.folder, [_as_note(trained) for trained in found])


def _as_note(trained: TrainedCurve) -> dict[str, Any]:
    curve, shown = trained.curve, trained.progress
    return {
        "series": curve.series,
        "task": curve.task,
        "metric": curve.metric,
        "filter": curve.filter,
        "points": _points(curve),
        "gain": trained.gain,
        "gain_interval": list(trained.gain_interval),
        "progress": None if shown is None else asdict(shown),
    }


def _from_note(curve: Curve, entry: dict[str, Any]) -> TrainedCurve:
    shown = entry["progress"]
    if shown is not None:
        interval = Interval(*shown["gain_interval"])
        shown = CurveProgress(**{**shown, "gain_interval": interval, "as_good": tuple(shown["as_good"])})
    return TrainedCurve(
        curve=curve, progress=shown, gain=entry["gain"], gain_interval=Interval(*entry["gain_interval"])
    )


def _points(curve: Curve) -> list[list[Any]]:
    """Return what a note is about: the checkpoints and their values, as JSON gives them back."""
    return [[row.checkpoint, row.value] for row in curve.measured]


def _key(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    return entry["series"], entry["task"], entry["metric"], entry["filter"]
