"""Perplexity of one text in every convention, and the factors between the conventions."""

from milepost.analysis.perplexity.chain import Factor, Gap
from milepost.analysis.perplexity.comparability import comparability
from milepost.analysis.perplexity.conventions import Convention, TextPerplexity, text_perplexity
from milepost.analysis.perplexity.tasks import FIXED, tasks_of

__all__ = [
    "FIXED",
    "Convention",
    "Factor",
    "Gap",
    "TextPerplexity",
    "comparability",
    "tasks_of",
    "text_perplexity",
]
