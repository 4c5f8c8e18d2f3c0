"""`milepost watch` as a function: `milepost run` of whatever becomes complete, until the training ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from milepost.analysis import Row, rows
from milepost.analysis.selection import main_metrics, overview
from milepost.analysis.training import TrainedCurve
from milepost.api.results import Results
from milepost.report.formatting import metric_name, model_name, plus_minus
from milepost.results.training import note_training, read_summary_training
from milepost.run.config import EvalConfig, check_options
from milepost.run.display.timing import LongRunPolicy
from milepost.store import ResultsIndex
from milepost.store.folder import is_results_folder
from milepost.store.reading import read_checkpoints, read_metrics
from milepost.text.safe_text import printable

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milepost.run.callbacks import RunCallback
    from milepost.run.keyword_options import EvalOptions
    from milepost.store import ResultsFolder
    from milepost.store.leases import Leases
    from milepost.types.checkpoints import Checkpoint
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
    from milepost.run.display.journal import Journal, parse_level
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
    listeners: list[RunCallback] = [_Figures(say)]
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
    return Watched(results=results if is_results_folder(folder) else None, ended=report.ended)


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


class _Figures:
    """A `run.callbacks.RunCallback` that says the metrics of each checkpoint as they come."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._results: ResultsFolder

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        self._results = results

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        for visit in read_checkpoints(self._results, checkpoint.series):
            if visit.name == checkpoint.name and (metrics := read_metrics(self._results, plan_id, visit)):
                measured = rows(row.measurement(visit) for row in metrics.rows)
                figures = [_figure(row) for row in main_metrics(overview(measured)) if row.value is not None]
                self._say(f"{model_name(checkpoint.series, checkpoint.name)}: {'; '.join(figures)}")

    def end(self) -> None:
        """Do nothing: all is said."""


def _figure(row: Row) -> str:
    name = f"{printable(row.task)} {metric_name(row.metric, row.filter)}"
    return f"{name} {plus_minus(row.value or 0.0, row.ci_low, row.ci_high, row.metric)}"


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
