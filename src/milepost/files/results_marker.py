"""The name of the file by which a results folder is known."""

from __future__ import annotations

MARKER = "milepost.json"
"""Marks a results folder and gives its format version."""
