"""The pages of the dashboard, a file for each; the order here is that of the menu."""

from milepost.web.page import PageKind
from milepost.web.pages import overview, runs

PAGES: tuple[PageKind, ...] = (overview.PAGE, runs.PAGE)
