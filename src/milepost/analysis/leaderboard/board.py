"""Build the leaderboard: entries and baselines in one table, summarised in four ways with intervals."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.analysis.intervals import NO_INTERVAL, Interval
from milepost.analysis.leaderboard.draws import draw_scores
from milepost.analysis.leaderboard.entries import At, Baseline, BoardColumn, Entrants, Entry, limits
from milepost.analysis.leaderboard.formulas import mean_normalised, mean_rank, mean_win_rate, min_max_sum
from milepost.text.language import Phrase
from milepost.types.answers import ModelAnswers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]

N_DRAWS = 1000
SEED = 20_240_601
FLATTERED = Phrase(
    "each run is represented by its best checkpoint, chosen by the same docs: "
    "this flatters runs with many checkpoints"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary of a model's columns."""

    value: float | None
    """Value of the summary; None if it cannot be computed."""
    interval: Interval
    """95 % interval over docs; empty for published metrics, or if a column of the model has too few docs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A line of the leaderboard."""

    name: str
    checkpoint: str | None
    """Name of the checkpoint; None for a baseline."""
    step: int | None
    source: str | None
    """Source of a baseline's metrics."""
    scores: tuple[float | None, ...]
    """Score per column; None if the model lacks it."""
    docs: tuple[int | None, ...]
    win_rate: Summary
    rank: Summary
    normalised: Summary
    min_max: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """Standings from the best to the worst by mean win rate."""

    columns: tuple[BoardColumn, ...]
    higher_is_better: tuple[bool, ...]
    standings: tuple[Standing, ...]
    notes: tuple[str, ...]
    """Notes on the choice of checkpoints, sources of published metrics, missing columns, numbers of docs."""


def make_leaderboard(
    found: Entrants,
    answers: Sequence[ModelAnswers],
    published: Sequence[Baseline] = (),
    *,
    at: At = "last",
    n_draws: int = N_DRAWS,
) -> Leaderboard:
    """Compare one checkpoint of each series, and published metrics.

    Args:
        found: the entries and columns.
        answers: answers of the entries, in their order.
        published: models with published metrics.
        at: rule by which the checkpoints were chosen.
        n_draws: number of draws of the docs for the intervals.
    """
    import numpy as np

    entries, columns = found.entries, found.columns
    scores_MK = _scores(entries, published, columns)
    signs_K = np.array([1.0 if _is_higher_better(column, entries) else -1.0 for column in columns])
    chance_K, ceiling_K = np.array([limits(column, entries) for column in columns]).T
    drawn = draw_scores(answers, columns, n_draws=n_draws, seed=SEED)
    too_few = {key for key, values in drawn.items() if np.isnan(values).all()}
    small = {column for _, column in too_few}
    drawn_BMK = np.broadcast_to(scores_MK, (n_draws, *scores_MK.shape)).copy()
    for (number, column), values in drawn.items():
        if (number, column) not in too_few:
            drawn_BMK[:, number, columns.index(column)] = values
    summaries = [
        (summary(scores_MK[None] * signs_K)[0], summary(drawn_BMK * signs_K))
        for summary in (
            mean_win_rate,
            mean_rank,
            lambda scores: mean_normalised(scores, chance_K, ceiling_K),
            min_max_sum,
        )
    ]
    models: list[Entry | Baseline] = [*entries, *published]
    standings = [
        _standing(
            model,
            scores_MK[number],
            columns,
            [
                Summary(
                    _number(value[number]),
                    _middle(draws[:, number], value[number])
                    if _has_interval(number, scores_MK[number], columns, drawn, small)
                    else NO_INTERVAL,
                )
                for value, draws in summaries
            ],
        )
        for number, model in enumerate(models)
    ]
    return Leaderboard(
        columns=columns,
        higher_is_better=tuple(bool(sign > 0) for sign in signs_K),
        standings=tuple(sorted(standings, key=_place)),
        notes=(
            *([FLATTERED] if at == "best" else []),
            *(
                [Phrase("left out, with none of these metrics: {names}", names=", ".join(found.lacking))]
                if found.lacking
                else []
            ),
            *_dtype_notes(entries),
            *_notes(standings, columns, small),
        ),
    )


def _scores(
    entries: Sequence[Entry], published: Sequence[Baseline], columns: Sequence[BoardColumn]
) -> Scores:
    import numpy as np

    measured = [[_value(entry, column) for column in columns] for entry in entries]
    of_baselines = [[baseline.scores.get(column, math.nan) for column in columns] for baseline in published]
    return np.array(measured + of_baselines, dtype=np.float64)


def _value(entry: Entry, column: BoardColumn) -> float:
    value = entry.rows[column].value if column in entry.rows else None
    return math.nan if value is None else value


def _is_higher_better(column: BoardColumn, entries: Sequence[Entry]) -> bool:
    return any(bool(entry.rows[column].higher_is_better) for entry in entries if column in entry.rows)


def _has_interval(
    number: int,
    scores_K: Scores,
    columns: Sequence[BoardColumn],
    drawn: Mapping[tuple[int, BoardColumn], Scores],
    small: Collection[BoardColumn],
) -> bool:
    """Return whether a model was measured here, and none of its columns has too few docs."""
    return any(number == model for model, _ in drawn) and all(
        column not in small or math.isnan(score) for column, score in zip(columns, scores_K, strict=True)
    )


def _standing(
    model: Entry | Baseline,
    scores_K: Scores,
    columns: Sequence[BoardColumn],
    summaries: Sequence[Summary],
) -> Standing:
    entry = model if isinstance(model, Entry) else None
    rows = entry.rows if entry else {}
    win_rate, rank, normalised, min_max = summaries
    return Standing(
        name=model.name,
        checkpoint=entry.checkpoint if entry else None,
        step=entry.step if entry else None,
        source=model.source if isinstance(model, Baseline) else None,
        scores=tuple(_number(value) for value in scores_K),
        docs=tuple(rows[column].n if column in rows else None for column in columns),
        win_rate=win_rate,
        rank=rank,
        normalised=normalised,
        min_max=min_max,
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _middle(draws_B: Scores, value: float) -> Interval:
    """Return the middle 95 % of the draws, extended to contain the value itself."""
    import numpy as np

    known = draws_B[~np.isnan(draws_B)]
    if math.isnan(value) or not len(known):
        return NO_INTERVAL
    known.sort()
    low, high = (_quantile(known, share) for share in (0.025, 0.975))
    return Interval(min(low, float(value)), max(high, float(value)))


def _quantile(ordered: Scores, share: float) -> float:
    """Return a quantile as `numpy.quantile` does, whose import of numpy.ma takes as long as the draws."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    part = place - below
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


def _place(standing: Standing) -> tuple[float, float, str]:
    win_rate, rank = standing.win_rate.value, standing.rank.value
    return (-math.inf if win_rate is None else -win_rate, math.inf if rank is None else rank, standing.name)


def _dtype_notes(entries: Sequence[Entry]) -> list[str]:
    """Return a note if not all models were computed in the same dtype."""
    dtypes_of = {
        entry.name: "/".join(sorted({row.dtype for row in entry.rows.values() if row.dtype}))
        for entry in entries
    }
    known = {name: dtypes for name, dtypes in dtypes_of.items() if dtypes}
    if len(set(known.values())) < 2:
        return []
    listed = ", ".join(f"{name} {dtypes}" for name, dtypes in known.items())
    return [Phrase("computed in different dtypes: {listed}", listed=listed)]


def _notes(
    standings: Sequence[Standing], columns: Sequence[BoardColumn], small: Collection[BoardColumn]
) -> list[str]:
    notes: list[str] = [
        Phrase("{model}: published at {source}", model=standing.name, source=standing.source)
        for standing in standings
        if standing.source
    ]
    for place, column in enumerate(columns):
        lacking = [standing.name for standing in standings if standing.scores[place] is None]
        if lacking:
            notes.append(
                Phrase(
                    "{task} {metric}: not known of {names}",
                    task=column.task,
                    metric=column.metric,
                    names=", ".join(lacking),
                )
            )
        if column in small:
            notes.append(
                Phrase(
                    "{task} {metric}: too few docs, so the models that have it get no intervals",
                    task=column.task,
                    metric=column.metric,
                )
            )
        with_docs = [standing for standing in standings if standing.docs[place]]
        if len({standing.docs[place] for standing in with_docs}) > 1:
            listed = ", ".join(f"{standing.name} {standing.docs[place]:,}" for standing in with_docs)
            notes.append(
                Phrase(
                    "{task}: measured on different numbers of docs ({listed})",
                    task=column.task,
                    listed=listed,
                )
            )
    return notes
