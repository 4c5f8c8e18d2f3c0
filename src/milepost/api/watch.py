"""`milepost watch` as a function: `milepost run` of whatever becomes complete, until the training ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from milepost.analysis.training import TrainedCurve
from milepost.api.results import Results
from milepost.results.training import note_training, read_summary_training
from milepost.run.config import EvalConfig, check_options
from milepost.run.timing import LongRunPolicy
from milepost.store import ResultsIndex

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milepost.run.callbacks import RunCallback
    from milepost.run.config import EvalOptions
    from milepost.store import ResultsFolder
    from milepost.store.leases import Leases
    from milepost.types import Checkpoint
    from milepost.watching import EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Outcome of a watch that ended by itself."""

    results: Results | None
    """None where nothing was evaluated."""
    ended: EndReason


def watch(
    sources: str | Path | Sequence[str | Path],
    tasks: str | Sequence[str] = (),
    *,
    every_s: float | None = None,
    settle_s: float = 5.0,
    until: int | None = None,
    order: Literal["oldest", "newest"] = "oldest",
    execute: str | None = None,
    stop_when: Literal["plateau"] | None = None,
    plot: str | Path | None = None,
    ask: bool = False,
    say: Callable[[str], None] = lambda line: None,
    **options: Unpack[EvalOptions],
) -> Watched:
    """Evaluate checkpoints as they become complete; an interrupt ends it, and the same call goes on.

    Args:
        sources: folders, which need not be there yet, or Hub addresses.
        tasks: as of `milepost.evaluate`.
        every_s: look at least this often; None for a sensible time. Changes on local disks are seen at once.
        settle_s: a checkpoint is touched once nothing in it has changed for so long.
        until: the step to end at; None for the last of `steps`, or never.
        order: which of several complete checkpoints comes first.
        execute: a shell command to run after each checkpoint; see `watching.exec_command.ExecCommand`.
        stop_when: `plateau` ends the watch once no curve shows an improvement any more.
        plot: a picture of the curves (.png, .svg or .html) that is drawn again after each checkpoint.
        ask: whether to ask at the terminal before an evaluation that takes long.
        say: called with a line that says what is waited for, or what became of a checkpoint.
        options: as of `milepost.evaluate`; those of `milepost watch`.

    Raises:
        MilepostError: the command is wrong; nothing has been written then.
    """
    from milepost.recorders import open_recording
    from milepost.report.files import CHART_SUFFIXES, check_target
    from milepost.run.callbacks import CallbackList
    from milepost.run.journal import Journal, parse_level
    from milepost.watching import WatchConfig, watch_run
    from milepost.watching.exec_command import ExecCommand

    check_options("watch", options)
    config = EvalConfig.from_options(sources, tasks, **options)
    settings = WatchConfig(
        run=config,
        long_run=LongRunPolicy(ask=ask),
        every_s=every_s,
        settle_s=settle_s,
        until=until,
        order=order,
    )
    listeners: list[RunCallback] = []
    recording = open_recording(config.record, config.record_project)
    if recording is not None:
        listeners.append(recording)
    if plot is not None:
        check_target(Path(plot), CHART_SUFFIXES)
        listeners.append(_Picture(Path(plot)))
    if execute is not None:
        listeners.append(ExecCommand(execute))
    folder = config.output_path
    with Journal(parse_level(config.verbosity)) as journal:
        report = watch_run(
            settings,
            journal,
            CallbackList(listeners),
            say=say,
            has_ended=lambda: stop_when == "plateau" and is_at_plateau(folder),
        )
    assert report.ended is not None
    results = Results(
        folder,
        failures=report.failures,
        scored=tuple(f"{one.series}/{one.name}" for one in report.scored),
        reused=tuple(f"{one.series}/{one.name}" for one in report.reused),
    )
    return Watched(results=results if folder.is_dir() else None, ended=report.ended)


def is_at_plateau(results: Path) -> bool:
    """Return whether every curve of the table has stopped rising: no later checkpoint is better.

    Curves of fewer checkpoints than make a plateau (`analysis.improvement.FEWEST_LATER`) are still rising.

    Raises:
        ResultsError: a damaged record.
    """
    note_training(results)
    curves = read_summary_training(ResultsIndex.open(results))
    return bool(curves) and all(_has_stopped(one) for one in curves)


def _has_stopped(curve: TrainedCurve) -> bool:
    return curve.progress is not None and curve.progress.plateau_since is not None


class _Picture:
    """A `run.callbacks.RunCallback` that draws the curves after each checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._results: ResultsFolder

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        self._results = results

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        Results(self._results.path).plot(self.path)

    def end(self) -> None:
        """Do nothing: the picture is up to date."""
