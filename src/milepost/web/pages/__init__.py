"""The pages of the dashboard, a file for each; the order here is that of the menu."""

from milepost.web.page import PageKind
from milepost.web.pages import (
    compare,
    curves,
    leaderboard,
    overview,
    perplexity,
    question,
    questions,
    runs,
    signal,
    subjects,
)

PAGES: tuple[PageKind, ...] = (
    overview.PAGE,
    curves.PAGE,
    subjects.PAGE,
    questions.PAGE,
    question.PAGE,
    compare.PAGE,
    leaderboard.PAGE,
    signal.PAGE,
    perplexity.PAGE,
    runs.PAGE,
)
