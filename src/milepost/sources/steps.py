"""Selection of steps: `--steps BEGIN:END:STRIDE`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from milepost.errors import SourceError
from milepost.text.language import Phrase
from milepost.text.messages import shown

_FORM = re.compile(r"([0-9]{0,18})(?:(:)([0-9]{0,18})(?::([0-9]{0,18}))?)?")
_HINT = "write BEGIN:END:STRIDE, for example 2000:200000:2000; parts may be left out (2000:, :5000, ::1000)"


@dataclass(frozen=True, slots=True)
class Steps:
    """A selection of steps. `begin` and `end` are included; None leaves that side open."""

    begin: int | None = None
    end: int | None = None
    stride: int = 1
    """Keep every stride-th step, counted from `begin`, or from 0 if `begin` is None."""

    @classmethod
    def parse(cls, text: str) -> Steps:
        """Parse `BEGIN:END:STRIDE`. A single number (`400`) selects that step only.

        Raises:
            SourceError: the text has another form, the stride is 0, or BEGIN is after END.
        """
        form = _FORM.fullmatch(text.strip())
        if form is None or not text.strip():
            raise SourceError(Phrase("--steps {text!r} is not a selection of steps", text=shown(text)), _HINT)
        begin, colon, end, stride = form.groups()
        if not colon:
            return cls(int(begin), int(begin))
        steps = cls(_number(begin), _number(end), int(stride or 1))
        if steps.stride == 0:
            raise SourceError(Phrase("--steps {text!r} has a stride of 0", text=shown(text)), _HINT)
        if steps.begin is not None and steps.end is not None and steps.begin > steps.end:
            raise SourceError(Phrase("--steps {text!r} begins after it ends", text=shown(text)), _HINT)
        return steps

    def __contains__(self, step: object) -> bool:
        if not isinstance(step, int):
            return False
        begin = self.begin or 0
        within = step >= begin and (self.end is None or step <= self.end)
        return within and (step - begin) % self.stride == 0

    @property
    def last(self) -> int | None:
        """The largest selected step; None without an end."""
        if self.end is None:
            return None
        begin = self.begin or 0
        return begin + (self.end - begin) // self.stride * self.stride

    def __str__(self) -> str:
        begin = "" if self.begin is None else str(self.begin)
        end = "" if self.end is None else str(self.end)
        if begin and begin == end:
            return begin
        return f"{begin}:{end}" if self.stride == 1 else f"{begin}:{end}:{self.stride}"


def _number(text: str) -> int | None:
    return int(text) if text else None
