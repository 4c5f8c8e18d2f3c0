"""Write durations for people, and the one sentence that says how much time is left."""

from __future__ import annotations

from milepost.text.language import _


def time_left(seconds: float, basis: str = "") -> str:
    """Return `about 12 min left`, and in parentheses what the estimate rests on."""
    return _("about {duration} left", duration=format_duration(seconds)) + (f" ({basis})" if basis else "")


def format_duration(seconds: float) -> str:
    """Return `8.1 s`, `42 s`, `12 min` or `3.4 h`."""
    if seconds < 10:
        return _("{n} s", n=format(seconds, ".1f"))
    if seconds < 100:
        return _("{n} s", n=format(seconds, ".0f"))
    minutes = round(seconds / 60)
    return _("{n} min", n=minutes) if minutes < 100 else _("{n} h", n=format(minutes / 60, ".1f"))
