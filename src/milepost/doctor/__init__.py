"""Check this machine for problems before a run, or after it failed.

Knows the machine, the Hub and its cache; no checkpoint, no task. Changes nothing.
"""

from milepost.doctor.examination import examine
from milepost.doctor.finding import Finding

__all__ = ["Finding", "examine"]
