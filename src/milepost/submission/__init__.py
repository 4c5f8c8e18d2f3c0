"""Pack a results folder into one zip: checked, listed, and the same bytes every time."""

from milepost.submission.pack import Packed, pack

__all__ = ["Packed", "pack"]
