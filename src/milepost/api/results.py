"""`Results`: a results folder as Python sees it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.analysis import Row, record, rows
from milepost.analysis.curves import with_gaps
from milepost.analysis.selection import summary_rows
from milepost.errors import MilepostError
from milepost.store import open_results as open_folder
from milepost.store import read_measurements
from milepost.store.reading import without_figures

if TYPE_CHECKING:
    import altair
    import pandas
    import polars
    from rich.console import RenderableType

    from milepost.run.quick import FullJob


@dataclass(frozen=True, slots=True)
class Results:
    """A results folder, read afresh at each call."""

    path: Path
    failures: Mapping[str, str] = field(default_factory=dict)
    """`series/checkpoint` to the reason it has no figures; like the next two, of this object's run."""
    scored: tuple[str, ...] = ()
    """`series/checkpoint` of what the run computed."""
    reused: tuple[str, ...] = ()
    """`series/checkpoint` of what was there already, or has the weights of another checkpoint."""
    without_metrics: tuple[str, ...] = ()
    """`series/checkpoint` of those of both whose metrics are left for later."""
    full_job: FullJob | None = None
    """Of a quick test: how long the whole job would take."""

    @classmethod
    def open(cls, path: str | Path) -> Results:
        """Open an existing folder.

        Raises:
            ResultsError: it is not a results folder.
        """
        return cls(open_folder(Path(path)).path)

    def rows(self) -> list[Row]:
        """Return every metric with its 95 % interval, one per series, checkpoint, task, metric and filter."""
        return rows(read_measurements(self.path))

    def table(self, *, tasks: Sequence[str] = (), metrics: Sequence[str] = ()) -> RenderableType:
        """Return the table of `milepost show`, for `rich.print`.

        Args:
            tasks: names or glob patterns; empty for groups and the tasks that no group sums up.
            metrics: names or glob patterns; empty for each task's first.

        Raises:
            ResultsError: there is no metric yet, or a pattern matches none.
        """
        from milepost.report.terminal import TableView

        return TableView(self._shown(tasks, metrics))

    def plot(
        self, path: str | Path | None = None, *, tasks: Sequence[str] = (), metrics: Sequence[str] = ()
    ) -> altair.ConcatChart:
        """Draw the learning curves as an Altair chart and, if `path` is given, write it (.png, .svg, .html).

        Arguments and errors as `table`.
        """
        from milepost.report.charts.curves import curve
        from milepost.report.files import write_chart

        chart = curve(self._shown(tasks, metrics))
        if path is not None:
            for notice in write_chart(chart, Path(path)):
                warnings.warn(notice, stacklevel=2)
        return chart

    def _shown(self, tasks: Sequence[str], metrics: Sequence[str]) -> list[Row]:
        every = self.rows()
        picked = summary_rows(every, tasks=tasks, metrics=metrics)
        return with_gaps(picked, without_figures(self.path, every))

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
