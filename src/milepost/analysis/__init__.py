"""Statistics over measured values: intervals, curves, selection, paired tests, verdicts.

Pure functions: nothing here reads or writes files. numpy and scipy are imported by the functions that need
them, because `milepost show` needs neither.
"""

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row, record, rows

__all__ = ["Curve", "Row", "curves", "record", "rows"]
