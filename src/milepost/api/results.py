"""`Results`: a results folder as Python sees it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.analysis import Row, record
from milepost.buckets import as_path
from milepost.errors import MilepostError
from milepost.results.selection import Selection, select_all_rows, select_rows
from milepost.store import ResultsIndex, open_folder

if TYPE_CHECKING:
    import altair
    import pandas
    import polars

    from milepost.report.terminal import Printed
    from milepost.run.outcome import FullJob


@dataclass(frozen=True, slots=True)
class Results:
    """A results folder, read afresh at each call."""

    path: Path
    failures: Mapping[str, str] = field(default_factory=dict)
    """`series/checkpoint` to the reason why it has no metrics; like the next two, of this object's run."""
    scored: tuple[str, ...] = ()
    """`series/checkpoint` of what the run computed."""
    reused: tuple[str, ...] = ()
    """`series/checkpoint` of what was there already, or has the weights of another checkpoint."""
    without_metrics: tuple[str, ...] = ()
    """`series/checkpoint` of those of both whose metrics are left for later."""
    full_job: FullJob | None = None
    """Estimate of the whole job, after a quick test."""

    @classmethod
    def open(cls, path: str | Path) -> Results:
        """Open an existing folder.

        Raises:
            ResultsError: it is not a results folder.
        """
        return cls(open_folder(as_path(path)).path)

    def index(self) -> ResultsIndex:
        """Return the records of the folder as they are now, each read once and when it is first needed."""
        return ResultsIndex.open(self.path)

    def rows(self) -> list[Row]:
        """Return every metric with its 95 % interval, one per series, checkpoint, task, metric and filter."""
        index = self.index()
        return select_all_rows(index) if index.scored else []

    def select(
        self,
        *,
        tasks: Sequence[str] = (),
        metrics: Sequence[str] = (),
        series: Sequence[str] = (),
        subjects: bool = False,
    ) -> list[Row]:
        """Return the rows that tables and charts show; a checkpoint without metrics has rows without a value.

        Args:
            tasks: names or glob patterns; empty for groups and the tasks that no group sums up.
            metrics: names or glob patterns; empty for each task's first.
            series: names or glob patterns of training runs; empty for all.
            subjects: every task where `tasks` is empty.

        Raises:
            ResultsError: there is no metric yet, or a pattern matches none.
        """
        selection = Selection(tasks=tasks, metrics=metrics, series=series, subjects=subjects)
        return select_rows(self.index(), selection)

    def table(self, *, tasks: Sequence[str] = (), metrics: Sequence[str] = ()) -> Printed:
        """Return the table of `milepost show`, for `rich.print`. Arguments and errors as of `select`."""
        from milepost.report.scores import score_report
        from milepost.report.terminal import Printed

        return Printed(list(score_report(self.select(tasks=tasks, metrics=metrics))))

    def plot(
        self, path: str | Path | None = None, *, tasks: Sequence[str] = (), metrics: Sequence[str] = ()
    ) -> altair.ConcatChart:
        """Draw the learning curves as an Altair chart and, if `path` is given, write it (.png, .svg, .html).

        Arguments and errors as of `select`.
        """
        from milepost.report.chart_files import words_of_picture, write_chart
        from milepost.report.charts.curves import curve

        shown = self.select(tasks=tasks, metrics=metrics)
        with words_of_picture(Path(path or "")):
            chart = curve(shown)
        if path is not None:
            for notice in write_chart(chart, Path(path)):
                warnings.warn(notice, stacklevel=2)
        return chart

    def to_records(self) -> list[dict[str, Any]]:
        """Return the rows as `milepost show --json` prints them."""
        return [record(row) for row in self.rows()]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a pandas data frame, with the columns of `to_records`."""
        import pandas

        return pandas.DataFrame(self.to_records())

    def to_polars(self) -> polars.DataFrame:
        """Return the rows as a polars data frame, with the columns of `to_records`.

        Raises:
            MilepostError: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise MilepostError("polars is not installed", "pip install 'milepost[polars]'") from error
        return polars.DataFrame(self.to_records(), infer_schema_length=None)


def open_results(path: str | Path) -> Results:
    """Open the results folder of an earlier run.

    Raises:
        ResultsError: it is not a results folder.
    """
    return Results.open(path)
