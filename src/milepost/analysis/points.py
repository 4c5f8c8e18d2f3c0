"""The points of a curve that are rated; made without numpy, so that `milepost show` starts at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.analysis.improvement import FEWEST_ANSWERS
from milepost.analysis.intervals import Z95
from milepost.analysis.mean_differences import FEWEST_DOCS
from milepost.analysis.metric_kinds import FEWEST_CHECKPOINTS, FEWEST_CHECKPOINTS_OF_OTHERS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """One metric over a series, by step: N checkpoints with a value."""

    steps: tuple[int, ...]
    values: tuple[float, ...]
    n: int
    """Number of docs of each value."""
    stderr: tuple[float | None, ...] = ()
    """Standard error of each value; empty for an accuracy, whose standard error follows from the value."""
    is_accuracy: bool = True
    """True if values are shares of docs answered right."""
    higher_is_better: bool = True
    is_ratio: bool = False
    """True if equal ratios mean equal progress, as for perplexities: then logarithms are rated."""
    chance: float | None = None
    constant: tuple[float, float] | None = None
    """Lowest and highest accuracy of always answering A, always B, ... Only if every doc has the same
    choices, so that a model can have a favourite."""

    @property
    def fewest_docs(self) -> int:
        """Fewest docs for any statement, as in `improvement`."""
        return FEWEST_ANSWERS if self.is_accuracy else FEWEST_DOCS

    @property
    def fewest_checkpoints(self) -> int:
        """Fewest checkpoints for any statement."""
        return FEWEST_CHECKPOINTS if self.is_accuracy else FEWEST_CHECKPOINTS_OF_OTHERS

    def rated(self) -> npt.NDArray[np.float64]:
        """Return [N] the numbers to rate: the values, or their logarithms."""
        import numpy as np

        values = np.asarray(self.values, dtype=np.float64)
        return np.log(values) if self._in_logs else values

    def in_unit(self, rated: float) -> float:
        """Convert a mean of rated numbers to the metric's unit; of logarithms, to the geometric mean."""
        return math.exp(rated) if self._in_logs else rated

    def errors(self) -> npt.NDArray[np.float64]:
        """Return [N] standard errors of the rated numbers; 0 where unknown."""
        import numpy as np

        if self.stderr:
            errors: npt.NDArray[np.float64] = np.asarray([error or 0.0 for error in self.stderr])
            return errors / np.asarray(self.values) if self._in_logs else errors
        shares: npt.NDArray[np.float64] = np.clip(np.asarray(self.values, float), 0.0, 1.0)
        return np.sqrt(shares * (1 - shares) / self.n)

    def docs_errors(self) -> npt.NDArray[np.float64]:
        """Return [N] standard errors of an accuracy that are not 0 if few docs are all right or all wrong.

        Two right and two wrong answers are added, as by A. Agresti and B. A. Coull (The American Statistician
        52 (1998), 119-126). 0 for other metrics: the spread of their docs is common to all checkpoints.
        """
        import numpy as np

        if not self.is_accuracy:
            return np.zeros(len(self.values))
        shares: npt.NDArray[np.float64] = np.clip(np.asarray(self.values, float), 0.0, 1.0)
        shares = (shares * self.n + 2) / (self.n + 4)
        return np.maximum(self.errors(), np.sqrt(shares * (1 - shares) / (self.n + 4)))

    @property
    def _in_logs(self) -> bool:
        return self.is_ratio and min(self.values) > 0

    @property
    def in_band(self) -> bool:
        """Return whether every checkpoint's 95 % interval reaches into the band of constant answers."""
        if self.constant is None:
            return False
        low, high = self.constant
        halves = [Z95 * error for error in self.plain_errors]
        return all(
            value + half >= low and value - half <= high
            for value, half in zip(self.values, halves, strict=True)
        )

    @property
    def floor(self) -> float | None:
        """Return what a model that knows nothing scores: chance, or the best constant answer."""
        levels = [level for level in (self.chance, self.constant and self.constant[1]) if level is not None]
        return max(levels) if levels and self.higher_is_better else None

    @property
    def plain_errors(self) -> list[float]:
        """Return the standard error of each value; 0 where unknown."""
        if self.stderr:
            return [error or 0.0 for error in self.stderr]
        shares = [min(1.0, max(0.0, value)) for value in self.values]
        return [math.sqrt(share * (1 - share) / self.n) for share in shares]
