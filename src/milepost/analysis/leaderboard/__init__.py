"""Rank several models or checkpoints: win rates and other summaries with intervals."""

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
