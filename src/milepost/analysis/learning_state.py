"""Say in a few words where a curve stands: the verdict of an overview."""

from __future__ import annotations

from typing import Literal

from milepost.analysis.standing import standing
from milepost.analysis.training import TrainedCurve

LearningState = Literal[
    "one checkpoint only",
    "too few docs to tell",
    "inside the constant-answer band",
    "at chance",
    "worse than its best",
    "plateau",
    "still learning",
    "better, no steady trend",
    "no improvement shown",
]


def learning_state(trained: TrainedCurve) -> LearningState:
    """Return where a curve stands at its last checkpoint.

    The verdict is that of `analysis.standing`; the tests of `milepost show` over the same docs add plateau
    and fall, and the gain where there are too few checkpoints for a trend.

    Args:
        trained: has at least one value.
    """
    shown, progress = standing(trained.curve), trained.progress
    if shown is None or shown.verdict == "one checkpoint":
        return "one checkpoint only"
    if shown.verdict == "too few docs" or (progress is not None and progress.too_few_docs):
        return "too few docs to tell"
    if shown.at_chance:
        return "inside the constant-answer band" if shown.in_band else "at chance"
    if shown.verdict == "got worse" or (progress is not None and progress.regressed):
        return "worse than its best"
    is_better = progress is not None and progress.improved
    if shown.verdict in ("no steady trend", "no trend") and is_better:
        return "better, no steady trend"
    if shown.improved or (shown.verdict == "too few checkpoints" and is_better):
        return "plateau" if progress is not None and progress.plateau_since else "still learning"
    return "no improvement shown"
