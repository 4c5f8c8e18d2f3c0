"""Pure functions over measurements: intervals, curves, selection. No torch, no lm_eval, no numpy."""

from milepost.analysis.row import Row, record, rows
from milepost.analysis.series import Curve, curves

__all__ = ["Curve", "Row", "curves", "record", "rows"]
