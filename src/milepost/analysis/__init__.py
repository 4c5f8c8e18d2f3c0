"""Pure functions over records: intervals, curves, selection, paired tests, figures of docs.

No torch, no lm_eval. Those who count with numpy or scipy import them: `milepost show` needs neither.
"""

from milepost.analysis.curves import Curve, curves
from milepost.analysis.row import Row, record, rows

__all__ = ["Curve", "Row", "curves", "record", "rows"]
