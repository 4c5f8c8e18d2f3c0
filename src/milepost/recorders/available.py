"""List the recorders, check that one is installed, and open it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from milepost.errors import MilepostError
from milepost.recorders.recorder import RecordedRun, Recorder, RecorderError
from milepost.recorders.recording import Recording
from milepost.text.language import Phrase

RECORDERS = ("trackio", "wandb", "none")
DEFAULT_PROJECT = "milepost"


def check_recorder(name: str) -> None:
    """Refuse an unknown or not installed recorder before any work, without importing it.

    Raises:
        MilepostError: unknown name.
        RecorderError: not installed; the hint is the pip command.
    """
    if name not in RECORDERS:
        raise MilepostError(
            Phrase("there is no recorder {name!r}", name=name),
            Phrase("use one of {names}", names=", ".join(RECORDERS)),
        )
    if name != "none" and not is_installed(name):
        raise RecorderError(
            Phrase("the recorder {name} is not installed", name=name),
            Phrase("pip install 'milepost[{name}]'", name=name),
        )


def open_recording(name: str, project: str = DEFAULT_PROJECT) -> Recording | None:
    """Return a recording for the callbacks of a run; None for `none`. Raises as `check_recorder`."""
    check_recorder(name)
    return None if name == "none" else Recording(name, opener(name), project)


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def opener(name: str) -> Callable[[RecordedRun], Recorder]:
    """Return the function that opens a run of a recorder that is installed."""
    if name == "wandb":
        from milepost.recorders.to_wandb import WandbRecorder

        return WandbRecorder
    from milepost.recorders.to_trackio import TrackioRecorder

    return TrackioRecorder
