"""What on this machine would keep a run from working: looked at before it starts, or after it failed.

Knows the machine, the Hub and its cache; no checkpoint, no task. Changes nothing.
"""

from milepost.doctor.examination import examine
from milepost.doctor.finding import Finding

__all__ = ["Finding", "examine"]
