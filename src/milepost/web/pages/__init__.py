"""The pages of the dashboard, a file for each; the order here is that of the menu."""

from milepost.web.page import PageKind
from milepost.web.pages import compare, curves, overview, runs, subjects

PAGES: tuple[PageKind, ...] = (overview.PAGE, curves.PAGE, subjects.PAGE, compare.PAGE, runs.PAGE)
