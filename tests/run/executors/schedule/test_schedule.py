"""Who scores what: no shard is lost or given twice at a time, and workers end together."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.run.executors.schedule import STRIKES, Cause, Schedule, ShardCost, Unit
from milepost.run.executors.schedule.units import FIRST_TOKENS, TARGET_S


def schedule_of(
    n_checkpoints: int,
    costs: list[ShardCost],
    *,
    first_tokens: int = FIRST_TOKENS,
    target_s: float = TARGET_S,
) -> Schedule:
    schedule = Schedule(first_tokens=first_tokens, target_s=target_s)
    for number in range(n_checkpoints):
        schedule.add(number, costs, range(len(costs)))
    return schedule


def score_all(schedule: Schedule, worker: int, unit: Unit, seconds: float = 1.0) -> None:
    schedule.opened(unit.checkpoint)
    schedule.loaded(worker, 1.0)
    for shard in unit.shards:
        schedule.scored(worker, shard, seconds)
    schedule.ended(worker)


def taken(schedule: Schedule, worker: int) -> Unit:
    unit = schedule.next_unit(worker)
    assert unit is not None
    return unit


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 6)),
    tokens=st.integers(1, 1_000_000),
    events=st.data(),
)
def test_whatever_happens_each_shard_is_scored_once_or_given_up_after_three_deaths(
    shape: tuple[int, int, int], tokens: int, events: st.DataObject
) -> None:
    n_checkpoints, n_shards, n_workers = shape
    schedule = schedule_of(n_checkpoints, [ShardCost("task", tokens)] * n_shards)
    has: dict[int, Unit] = {}
    stored: set[tuple[int, int]] = set()
    given_out: Counter[tuple[int, int]] = Counter()
    deaths: Counter[tuple[int, int]] = Counter()
    refused: set[int] = set()
    loaded: dict[int, int] = {}
    n_deaths = 0
    for _ in range(10_000):
        if schedule.is_done:
            break
        for worker in range(n_workers):
            if worker not in has and (unit := schedule.next_unit(worker)) is not None:
                under_way = {(one.checkpoint, s) for one in has.values() for s in one.shards}
                asked = {(unit.checkpoint, s) for s in unit.shards}
                assert asked
                assert not asked & (under_way | stored)
                given_out.update(asked)
                has[worker] = unit
        assert has, "somebody always has something to do until all is done"
        worker = events.draw(st.sampled_from(sorted(has)))
        unit = has.pop(worker)
        schedule.opened(unit.checkpoint)
        dies = n_deaths < 20 and events.draw(st.booleans())
        if dies and events.draw(st.booleans()):
            loss = schedule.lost(worker)
            n_deaths += 1
            assert loss.struck == (unit.shards[0] if loaded.pop(worker, None) == unit.checkpoint else None)
            if loss.struck is not None:
                deaths[unit.checkpoint, loss.struck] += 1
            elif loss.has_failed:
                refused.add(unit.checkpoint)
            continue
        schedule.loaded(worker, 1.0)
        loaded[worker] = unit.checkpoint
        n_scored = events.draw(st.integers(0, len(unit.shards) - 1)) if dies else len(unit.shards)
        for shard in unit.shards[:n_scored]:
            schedule.scored(worker, shard, 1.0)
            stored.add((unit.checkpoint, shard))
        if dies:
            loss = schedule.lost(worker, set(unit.shards[:n_scored]))
            loaded.pop(worker)
            n_deaths += 1
            struck = unit.checkpoint, unit.shards[n_scored]
            assert loss.struck == struck[1]
            deaths[struck] += 1
            assert loss.has_failed == (deaths[struck] == STRIKES)
        else:
            schedule.ended(worker)
    assert schedule.is_done
    every = {(c, s) for c in range(n_checkpoints) for s in range(n_shards)}
    failed = {(c, s) for c in range(n_checkpoints) for s in schedule.failed(c)}
    assert failed == {one for one, n in deaths.items() if n == STRIKES}
    assert {one for one in every - stored - failed if one[0] not in refused} == set()
    assert sum(given_out.values()) <= len(every) + n_deaths * n_shards


def test_a_worker_stays_at_its_checkpoint_and_another_begins_with_the_next() -> None:
    schedule = schedule_of(3, [ShardCost("t", 300_000)] * 4)
    first, second = taken(schedule, 0), taken(schedule, 1)
    assert (first.checkpoint, second.checkpoint) == (0, 1)
    score_all(schedule, 0, first)
    assert taken(schedule, 0).checkpoint == 0


def test_only_one_worker_is_at_a_checkpoint_until_its_model_is_known() -> None:
    schedule = schedule_of(1, [ShardCost("t", 300_000)] * 8)
    unit = taken(schedule, 0)
    assert schedule.next_unit(1) is None
    schedule.opened(0)
    helped = taken(schedule, 1)
    assert not set(helped.shards) & set(unit.shards)


def test_what_is_stored_under_the_model_is_not_given_out() -> None:
    schedule = schedule_of(1, [ShardCost("t", 300_000)] * 4)
    unit = taken(schedule, 0)
    schedule.opened(0, stored=[1, 2, 3])
    assert schedule.next_unit(1) is None
    schedule.loaded(0, 1.0)
    schedule.ended(0)
    assert unit.shards == (0,)
    assert schedule.is_done


def test_units_are_sized_by_the_measured_speed_and_get_smaller_at_the_end() -> None:
    schedule = schedule_of(1, [ShardCost("t", 1000)] * 1000, first_tokens=1, target_s=60)
    sizes = []
    while (unit := schedule.next_unit(0)) is not None:
        sizes.append(len(unit.shards))
        score_all(schedule, 0, unit)
    assert sizes[0] == 1
    assert max(sizes) == 60
    assert sizes[-10:] == sorted(sizes[-10:], reverse=True)
    assert sizes[-1] <= 2


def test_a_shard_that_a_worker_died_on_comes_last_and_alone() -> None:
    schedule = schedule_of(1, [ShardCost("t", 10)] * 6, first_tokens=30)
    unit = taken(schedule, 0)
    assert unit.shards == (0, 1, 2)
    schedule.opened(0)
    schedule.loaded(0, 1.0)
    schedule.scored(0, 0, 1.0)
    assert schedule.lost(0, stored={0}).struck == 1
    rest = []
    while (others := schedule.next_unit(1)) is not None:
        rest.append(others.shards)
        score_all(schedule, 1, others)
    assert rest[-1] == (1,)
    assert sorted(shard for shards in rest for shard in shards) == [1, 2, 3, 4, 5]


def die_on(schedule: Schedule, worker: int, cause: Cause) -> bool:
    """Let a worker die on the first shard of its next unit; returns whether that is given up."""
    unit = taken(schedule, worker)
    schedule.opened(unit.checkpoint)
    schedule.loaded(worker, 1.0)
    return schedule.lost(worker, cause=cause).has_failed


@pytest.mark.parametrize(
    ("cause", "n_deaths"),
    [(Cause.ITSELF, 3), (Cause.KILLED, 3), (Cause.TAKEN, 9)],
    ids=lambda given: str(given),
)
def test_a_shard_is_given_up_after_three_deaths_and_after_nine_machines_that_were_taken(
    cause: Cause, n_deaths: int
) -> None:
    schedule = schedule_of(1, [ShardCost("t", 10)])
    found = [die_on(schedule, 0, cause) for _ in range(n_deaths)]
    assert found == [False] * (n_deaths - 1) + [True]
    assert schedule.failed(0) == [0]
    assert schedule.is_done


def test_kills_count_a_third_once_a_shard_that_one_struck_was_scored_all_the_same() -> None:
    schedule = schedule_of(1, [ShardCost("t", 10)] * 2, first_tokens=10)
    assert not die_on(schedule, 0, Cause.KILLED)
    for _ in range(2):  # the other shard, and then the one that was struck
        score_all(schedule, 1, taken(schedule, 1))
    schedule.add(1, [ShardCost("t", 10)], [0])
    found = [die_on(schedule, 1, Cause.KILLED) for _ in range(9)]
    assert found == [False] * 8 + [True]


def test_loading_is_given_up_after_three_kills_in_a_row() -> None:
    schedule = schedule_of(2, [ShardCost("t", 10)])
    for number in range(3):
        assert taken(schedule, 0).checkpoint == 0
        loss = schedule.lost(0, cause=Cause.KILLED)
        assert (loss.struck, loss.has_failed) == (None, number == 2)
    assert taken(schedule, 0).checkpoint == 1


def test_kills_at_the_loading_of_a_checkpoint_that_was_loaded_before_count_a_third() -> None:
    schedule = schedule_of(1, [ShardCost("t", 10)] * 2)
    assert not die_on(schedule, 0, Cause.KILLED)
    found = []
    for _ in range(9):
        taken(schedule, 0)
        found.append(schedule.lost(0, cause=Cause.KILLED).has_failed)
    assert found == [False] * 8 + [True]


def test_a_death_strikes_the_shard_after_the_one_whose_record_was_not_written_yet() -> None:
    schedule = schedule_of(1, [ShardCost("t", 10)] * 3)
    assert taken(schedule, 0).shards == (0, 1, 2)
    schedule.opened(0)
    schedule.loaded(0, 1.0)
    schedule.scored(0, 0, 1.0)
    assert schedule.lost(0).struck == 1
    assert taken(schedule, 0).shards == (0, 2)


def test_the_seconds_of_the_longest_shard_of_a_unit_are_expected_once_there_is_a_speed() -> None:
    schedule = schedule_of(1, [ShardCost("t", 10), ShardCost("t", 30)], first_tokens=10)
    unit = taken(schedule, 0)
    assert schedule.expected_s(0) is None
    score_all(schedule, 0, unit, seconds=2.0)
    taken(schedule, 0)
    assert schedule.expected_s(0) == pytest.approx(6.0)
    assert schedule.expected_s(1) is None


def test_a_worker_does_not_help_where_loading_takes_longer_than_what_is_left() -> None:
    schedule = schedule_of(1, [ShardCost("t", 10)] * 4, first_tokens=10)
    score_all(schedule, 0, taken(schedule, 0))
    score_all(schedule, 0, taken(schedule, 0))
    taken(schedule, 0)
    schedule.loaded(0, 100.0)
    assert schedule.next_unit(1) is None


def test_a_checkpoint_that_cannot_be_used_is_not_given_out_again() -> None:
    schedule = schedule_of(2, [ShardCost("t", 300_000)] * 4)
    assert taken(schedule, 0).checkpoint == 0
    schedule.refused(0)
    assert schedule.is_finished(0)
    assert taken(schedule, 0).checkpoint == 1


@pytest.mark.parametrize(("n_checkpoints", "n_workers"), [(27, 8), (1, 8), (9, 8), (40, 4), (3, 16)])
def test_workers_end_at_about_the_same_time(n_checkpoints: int, n_workers: int) -> None:
    """Shards of two kinds, 5 to 20 s each, weights loaded in 10 s: at least 80 % of the time is scoring."""
    costs = [ShardCost("slow", 200_000)] * 30 + [ShardCost("fast", 250_000)] * 30
    seconds = {"slow": 20.0, "fast": 5.0}
    schedule = schedule_of(n_checkpoints, costs)
    clock = [(0.0, worker) for worker in range(n_workers)]
    at: dict[int, int] = {}
    has: dict[int, Unit] = {}
    idle: list[int] = []
    end = 0.0
    while clock:
        now, worker = heapq.heappop(clock)
        if worker in has:
            score = has.pop(worker)
            for shard in score.shards:
                schedule.scored(worker, shard, seconds[costs[shard].kind])
            schedule.ended(worker)
            end = max(end, now)
        for one in [worker, *idle]:
            unit = schedule.next_unit(one)
            if unit is None:
                idle = [*(other for other in idle if other != one), one]
                continue
            idle = [other for other in idle if other != one]
            schedule.opened(unit.checkpoint)
            load_s = 10.0 if at.get(one) != unit.checkpoint else 0.0
            at[one] = unit.checkpoint
            if load_s:
                schedule.loaded(one, load_s)
            has[one] = unit
            heapq.heappush(clock, (now + load_s + sum(seconds[costs[s].kind] for s in unit.shards), one))
    assert schedule.is_done
    work = n_checkpoints * sum(seconds[cost.kind] for cost in costs)
    assert work / (end * n_workers) > 0.8, end


def test_a_checkpoint_that_a_worker_reads_is_kept_for_it_while_there_are_others() -> None:
    schedule = schedule_of(4, [ShardCost("t", 300_000)])
    first, second = taken(schedule, 0), taken(schedule, 1)
    assert (schedule.upcoming(0), schedule.upcoming(0), schedule.upcoming(1)) == (2, 2, 3)
    score_all(schedule, 1, second)
    assert taken(schedule, 1).checkpoint == 3
    score_all(schedule, 0, first)
    assert taken(schedule, 0).checkpoint == 2


def test_a_checkpoint_that_a_busy_or_dead_worker_reads_is_begun_by_another() -> None:
    schedule = schedule_of(4, [ShardCost("t", 300_000)])
    taken(schedule, 0)
    second = taken(schedule, 1)
    assert (schedule.upcoming(0), schedule.upcoming(1)) == (2, 3)
    score_all(schedule, 1, second)
    score_all(schedule, 1, taken(schedule, 1))
    assert taken(schedule, 1).checkpoint == 2
    assert schedule.upcoming(0) is None
    schedule = schedule_of(2, [ShardCost("t", 300_000)])
    taken(schedule, 0)
    assert schedule.upcoming(0) == 1
    schedule.lost(0)
    assert {taken(schedule, 1).checkpoint, taken(schedule, 2).checkpoint} == {0, 1}
