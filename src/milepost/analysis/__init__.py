"""Pure functions over records: intervals, curves, selection, paired tests, figures of docs.

No torch, no lm_eval. Those who count with numpy or scipy import them: `milepost show` needs neither.
"""

from milepost.analysis.row import Row, record, rows
from milepost.analysis.series import Curve, curves

__all__ = ["Curve", "Row", "curves", "record", "rows"]
