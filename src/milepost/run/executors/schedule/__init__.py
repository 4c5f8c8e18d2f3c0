"""Decides who scores what: the work of a run in units, given to workers; pure, without files and clocks."""

from milepost.run.executors.schedule.schedule import Schedule
from milepost.run.executors.schedule.strikes import STRIKES, Cause, Loss
from milepost.run.executors.schedule.units import ShardCost, Unit

__all__ = ["STRIKES", "Cause", "Loss", "Schedule", "ShardCost", "Unit"]
