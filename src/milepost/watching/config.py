"""Options of a watch, and the parser of durations such as `30m`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.display.timing import LongRunPolicy
from milepost.text.language import Phrase

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:([0-9]{1,7}(?:\.[0-9]{1,3})?)([smhd]?))(?=[0-9]|$)")

Order = Literal["oldest", "newest"]
ORDERS: tuple[Order, ...] = ("oldest", "newest")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """Options for following a training run; `run` says how to evaluate each checkpoint."""

    run: EvalConfig
    long_run: LongRunPolicy = LongRunPolicy()
    every_s: float | None = None
    """Look at least this often; None for a suitable time. Changes on a local disk are seen at once."""
    settle_s: float = 5.0
    """Evaluate a checkpoint once nothing in it has changed for so long."""
    until: int | None = None
    """The step at which to end; None for the last of `--steps`, or never."""
    order: Order = "oldest"
    """The order of checkpoints that are complete at the same time."""

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise MilepostError(
                Phrase("unknown --order {order!r}", order=self.order), "one of " + ", ".join(ORDERS)
            )
        if self.until is not None and self.until < 0:
            raise MilepostError(
                Phrase("--until {until} is not a step", until=self.until), "a number such as 200000"
            )

    @property
    def last_step(self) -> int | None:
        """The step at which the watch ends; None where it goes on."""
        steps = self.run.steps
        ends = [end for end in (self.until, steps.last if steps else None) if end is not None]
        return min(ends, default=None)


def parse_duration(text: str) -> float:
    """Return the seconds of `90`, `90s`, `30m`, `1h30m` or `1d`.

    Raises:
        MilepostError: the text is not a duration, or shorter than a second.
    """
    given = text.strip().lower()
    parts = _DURATION.findall(given)
    seconds = sum(float(number) * UNITS_S[unit or "s"] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != given or seconds < 1:
        raise MilepostError(
            Phrase("{text!r} is not a duration of a second or more", text=text), "write 30m, 90s, 1h30m or 1d"
        )
    return seconds
