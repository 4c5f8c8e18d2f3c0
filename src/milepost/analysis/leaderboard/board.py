"""The leaderboard: entries and baselines in one table, summed up in four ways, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.analysis.intervals import NO_INTERVAL, Interval
from milepost.analysis.leaderboard.draws import draw_scores
from milepost.analysis.leaderboard.entries import At, Baseline, BoardColumn, Entrants, Entry, limits
from milepost.analysis.leaderboard.formulas import mean_normalised, mean_rank, mean_win_rate, min_max_sum
from milepost.store.doc_records import ModelAnswers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float64]

N_DRAWS = 1000
SEED = 20_240_601
FLATTERED = (
    "each run stands with its best checkpoint, chosen by the very docs that it is judged by: "
    "this flatters runs with many checkpoints"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """One way to sum up a model's columns."""

    value: float | None
    """None where it cannot be told."""
    interval: Interval
    """95 %, by other docs; none where no column of the model was measured here, or one has too few docs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One line of the leaderboard."""

    name: str
    checkpoint: str | None
    """None for a baseline."""
    step: int | None
    source: str | None
    """Where a baseline's figures were published."""
    scores: tuple[float | None, ...]
    """One per column; None where there is none."""
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
    """What the reader should know: how checkpoints were chosen, where figures were published, columns that
    not all have, different numbers of docs."""


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
        answers: of the entries, in their order.
        published: models that others measured.
        at: how the checkpoints were chosen.
        n_draws: draws of the docs behind the intervals.
    """
    import numpy as np

    scores_MK = _scores(found.entries, published, found.columns)
    signs = np.array([1.0 if _is_higher_better(one, found.entries) else -1.0 for one in found.columns])
    chance_K, ceiling_K = (
        np.array(of) for of in zip(*(limits(one, found.entries) for one in found.columns), strict=True)
    )
    drawn = draw_scores(answers, found.columns, n_draws=n_draws, seed=SEED)
    few = {key for key, values in drawn.items() if np.isnan(values).all()}
    drawn_BMK = np.broadcast_to(scores_MK, (n_draws, *scores_MK.shape)).copy()
    for (number, column), values in drawn.items():
        if (number, column) in few:
            continue
        drawn_BMK[:, number, found.columns.index(column)] = values
    small = {column for _, column in few}
    measured = [
        any(number == place for place, _ in drawn)
        and all(
            column not in small or np.isnan(score)
            for column, score in zip(found.columns, scores_MK[number], strict=True)
        )
        for number in range(len(scores_MK))
    ]
    ways = [
        (way(scores_MK[None] * signs)[0], way(drawn_BMK * signs))
        for way in (
            mean_win_rate,
            mean_rank,
            lambda scores: mean_normalised(scores, chance_K, ceiling_K),
            min_max_sum,
        )
    ]
    standings = [
        _standing(number, found.entries, published, found.columns, scores_MK, ways, measured[number])
        for number in range(len(scores_MK))
    ]
    return Leaderboard(
        columns=found.columns,
        higher_is_better=tuple(bool(sign > 0) for sign in signs),
        standings=tuple(sorted(standings, key=_place)),
        notes=(
            *([FLATTERED] if at == "best" else []),
            *_dtypes(found.entries),
            *_notes(standings, found.columns, small),
        ),
    )


def _scores(entries: Sequence[Entry], known: Sequence[Baseline], columns: Sequence[BoardColumn]) -> Scores:
    import numpy as np

    measured = [[_value(entry, column) for column in columns] for entry in entries]
    published = [[one.scores.get(column, math.nan) for column in columns] for one in known]
    return np.array(measured + published, dtype=np.float64)


def _value(entry: Entry, column: BoardColumn) -> float:
    value = entry.rows[column].value if column in entry.rows else None
    return math.nan if value is None else value


def _is_higher_better(column: BoardColumn, entries: Sequence[Entry]) -> bool:
    return any(bool(entry.rows[column].higher_is_better) for entry in entries if column in entry.rows)


def _standing(
    number: int,
    entries: Sequence[Entry],
    known: Sequence[Baseline],
    columns: Sequence[BoardColumn],
    scores_MK: Scores,
    ways: Sequence[tuple[Scores, Scores]],
    measured: bool,
) -> Standing:
    entry = entries[number] if number < len(entries) else None
    baseline = known[number - len(entries)] if entry is None else None
    win_rate, rank, normalised, min_max = (
        Summary(_number(value[number]), _middle(drawn[:, number], value[number]) if measured else NO_INTERVAL)
        for value, drawn in ways
    )
    return Standing(
        name=entry.name if entry else baseline.name if baseline else "",
        checkpoint=entry.checkpoint if entry else None,
        step=entry.step if entry else None,
        source=baseline.source if baseline else None,
        scores=tuple(_number(value) for value in scores_MK[number]),
        docs=tuple(
            entry.rows[column].n if entry is not None and column in entry.rows else None for column in columns
        ),
        win_rate=win_rate,
        rank=rank,
        normalised=normalised,
        min_max=min_max,
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _middle(drawn: Scores, value: float) -> Interval:
    """The middle 95 % of the draws, which always holds the value itself."""
    import numpy as np

    known = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(known):
        return NO_INTERVAL
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(min(float(low), float(value)), max(float(high), float(value)))


def _place(standing: Standing) -> tuple[float, float, str]:
    win_rate, rank = standing.win_rate.value, standing.rank.value
    return (-math.inf if win_rate is None else -win_rate, math.inf if rank is None else rank, standing.name)


def _dtypes(entries: Sequence[Entry]) -> list[str]:
    """A note where not all models were computed in the same dtype."""
    told = {
        entry.name: " and ".join(sorted({row.dtype for row in entry.rows.values() if row.dtype}))
        for entry in entries
    }
    known = {name: dtypes for name, dtypes in told.items() if dtypes}
    if len(set(known.values())) < 2:
        return []
    return ["computed in different dtypes: " + ", ".join(f"{name} in {of}" for name, of in known.items())]


def _notes(
    standings: Sequence[Standing], columns: Sequence[BoardColumn], small: set[BoardColumn]
) -> list[str]:
    notes = [f"{one.name}: published at {one.source}" for one in standings if one.source]
    for place, column in enumerate(columns):
        lacking = [one.name for one in standings if one.scores[place] is None]
        if lacking:
            notes.append(f"{column.task} {column.metric}: not known of {', '.join(lacking)}")
        if column in small:
            notes.append(
                f"{column.task} {column.metric}: too few docs, so the models that have it get no intervals"
            )
        counts = {one.docs[place] for one in standings if one.docs[place] is not None}
        if len(counts) > 1:
            listed = ", ".join(f"{one.docs[place]:,} of {one.name}" for one in standings if one.docs[place])
            notes.append(f"{column.task}: measured on different numbers of docs ({listed})")
    return notes
