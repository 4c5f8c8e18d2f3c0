"""A results folder as one file to hand in: checked, listed, and the same bytes every time."""

from milepost.submission.pack import Packed, pack

__all__ = ["Packed", "pack"]
