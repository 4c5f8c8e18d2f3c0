"""Several models, or checkpoints, in one order: who wins how often, and how sure that is."""

from milepost.analysis.leaderboard.board import Leaderboard, Standing, make_leaderboard
from milepost.analysis.leaderboard.entries import At, Baseline, BoardColumn, Entry

__all__ = [
    "At",
    "Baseline",
    "BoardColumn",
    "Entry",
    "Leaderboard",
    "Standing",
    "make_leaderboard",
]
