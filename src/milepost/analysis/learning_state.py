"""Say in a few words where a curve stands: the verdict of an overview."""

from __future__ import annotations

from typing import Literal

from milepost.analysis.metric_kinds import is_ratio_scale
from milepost.analysis.signal import rate
from milepost.analysis.task_signal import points_of
from milepost.analysis.training import TrainedCurve

LearningState = Literal[
    "one checkpoint only",
    "too few docs to tell",
    "inside the constant-answer band",
    "at chance",
    "worse than its best",
    "plateau",
    "still learning",
    "no improvement shown",
]


def learning_state(trained: TrainedCurve) -> LearningState:
    """Return where a curve stands at its last checkpoint.

    The tests are those of `milepost show` (gain, plateau and fall over the same docs, the band of constant
    answers) and of `milepost signal` (at chance). What makes the others meaningless comes first. A curve
    without stored docs is rated by its values alone.

    Args:
        trained: has at least one value.
    """
    measured, progress = trained.curve.measured, trained.progress
    if len(measured) < 2:
        return "one checkpoint only"
    rating = rate(points_of(measured, is_ratio=is_ratio_scale(trained.curve.metric)))
    if rating.verdict == "too few docs" or (progress is not None and progress.too_few_docs):
        return "too few docs to tell"
    if trained.curve.in_band:
        return "inside the constant-answer band"
    if rating.verdict == "at chance":
        return "at chance"
    if progress is None:
        if rating.worsened:
            return "worse than its best"
        return "still learning" if rating.improved else "no improvement shown"
    if progress.regressed:
        return "worse than its best"
    if progress.plateau_since and progress.improved:
        return "plateau"
    return "still learning" if progress.improved else "no improvement shown"
