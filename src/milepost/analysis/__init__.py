"""Pure functions over measurements: intervals, curves, selection, paired tests. No torch, no lm_eval.

numpy and scipy are imported by those who count with them, inside functions: `milepost show` needs neither.
"""

from milepost.analysis.row import Row, record, rows
from milepost.analysis.series import Curve, curves

__all__ = ["Curve", "Row", "curves", "record", "rows"]
