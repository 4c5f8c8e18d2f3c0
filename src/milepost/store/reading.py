"""From records to figures: which of the stored numbers are current.

A checkpoint's name stands for the model it held at its last visit; a task's settings (few-shot, limit,
prompts) are those of the newest run that asked for it. Numbers of other models or settings stay on disk
and are not mixed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from milepost.name_matching import matches
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import damaged, read_json, safe_name
from milepost.store.folder import ResultsFolder, open_results
from milepost.types import Measurement, PickCounts, Picks, step_order

FAILURE = "failure"
"""The entry of a checkpoint's record that says why its last visit failed."""


EVERY = ("*",)
"""The pattern of all figures."""

HABIT_RAISES = ("acc", "acc_norm", "acc_tokens", "acc_bytes")
"""Metrics that a model can raise by a favourite answer alone."""


def read_measurements(
    path: Path, left_out: list[LeftOut] | None = None, *, free: Sequence[str] = EVERY
) -> list[Measurement]:
    """All current figures of a results folder, by series, step, then the order the tasks were asked in.

    A task's figures that lm_eval does not give follow those that it does. Arguments as of `read_current`.

    Raises:
        ResultsError: not a results folder, or a damaged record.
    """
    return measurements_of(read_current(open_results(path), left_out, free=free))


def read_pick_counts(path: Path) -> list[Picks]:
    """What each checkpoint picked on each multiple-choice task and group, ordered as `read_measurements`.

    Raises:
        ResultsError: not a results folder, or a damaged record.
    """
    return picks_of(read_current(open_results(path)))


def measurements_of(current: Iterable[Current]) -> list[Measurement]:
    """The figures in what `read_current` gives, for those who also want its picks."""
    return [as_measurement(each.series, each.checkpoint, row) for each in current for row in each.rows]


def picks_of(current: Iterable[Current]) -> list[Picks]:
    """The picks in what `read_current` gives."""
    return [
        Picks(
            series=each.series,
            checkpoint=each.checkpoint["checkpoint"],
            step=each.checkpoint["step"],
            task=each.task,
            kind=each.rows[0]["kind"],
            counts=PickCounts(**each.picks),
        )
        for each in current
        if each.picks is not None
    ]


@dataclass(frozen=True, slots=True)
class Current:
    """The figures of one task or group at one checkpoint that are to be shown."""

    series: str
    checkpoint: dict[str, Any]
    """Its record: name, step, model."""
    plan_id: str
    """The plan they were computed for."""
    task: str
    rows: list[dict[str, Any]]
    picks: dict[str, Any] | None
    """`PickCounts` as a mapping; None where the task is no multiple choice, or the model gave NaN."""


class _Numerics:
    """Finds a checkpoint's figures whichever dtype they were computed in: a later run of another task in
    another dtype does not hide them."""

    def __init__(self, results: ResultsFolder) -> None:
        self._results = results
        self._of_plan: dict[str, dict[str, list[str]]] = {}

    def of_figures(self, plan_id: str, checkpoint: dict[str, Any]) -> dict[str, Any] | None:
        """The checkpoint's record with the numerics of its figures of a plan; None where it has none of it.

        Those of its last visit come first.
        """
        model_id, numerics = checkpoint["model_id"], checkpoint["numerics"]
        if self._results.metrics_path(plan_id, model_id, numerics).exists():
            return checkpoint
        if plan_id not in self._of_plan:
            found: dict[str, list[str]] = {}
            folder = self._results.metrics_path(plan_id, model_id, numerics).parent
            for path in sorted(folder.glob("*.json")):
                own, _, of = path.stem.partition("-")
                found.setdefault(own, []).append(of)
            self._of_plan[plan_id] = found
        others = self._of_plan[plan_id].get(model_id)
        return {**checkpoint, "numerics": others[-1]} if others else None


class Visited(NamedTuple):
    """A checkpoint that a run has come to, whether or not it has figures."""

    series: str
    checkpoint: str
    step: int | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A task of a checkpoint that only has figures of other settings than the newest run's."""

    series: str
    checkpoint: str
    task: str


def read_current(
    results: ResultsFolder, left_out: list[LeftOut] | None = None, *, free: Sequence[str] = EVERY
) -> Iterator[Current]:
    """The current figures by series, step, then task.

    Args:
        left_out: if given, what is not joined to them because it was asked otherwise (another limit, other
            examples) is added to it.
        free: names or patterns of the figures wanted that lm_eval does not give: of large results they are
            most rows. Where a pattern matches none of them all are given, as it may be mistyped.

    Raises:
        ResultsError: a damaged record.
    """
    runs = runs_newest_first(results)
    plans = list(dict.fromkeys(run["plan_id"] for run in runs))
    asked = who_was_asked(runs)
    numerics = _Numerics(results)
    for series, checkpoints in _checkpoints(results, runs).items():
        setting_of: dict[str, str] = {}
        found: dict[tuple[str, str], Current] = {}
        others: dict[tuple[str, str], LeftOut] = {}
        for plan_id in plans:
            for visited in checkpoints:
                checkpoint = numerics.of_figures(plan_id, visited) if asked(plan_id, visited) else None
                if checkpoint is None:
                    continue
                path = results.metrics_path(plan_id, checkpoint["model_id"], checkpoint["numerics"])
                record = read_json(path)
                picks = record.get("choices", {}).get("picks", {})
                for task, rows in _rows_by_task(record, free).items():
                    if setting_of.setdefault(task, rows[0]["setting"]) == rows[0]["setting"]:
                        current = Current(series, checkpoint, plan_id, task, rows, picks.get(task))
                        found.setdefault((checkpoint["checkpoint"], task), current)
                    else:
                        name = checkpoint["checkpoint"]
                        others.setdefault((name, task), LeftOut(series, name, task))
        if left_out is not None:
            left_out += [other for key, other in others.items() if key not in found]
        for checkpoint in checkpoints:
            for task in setting_of:
                if (checkpoint["checkpoint"], task) in found:
                    yield found[checkpoint["checkpoint"], task]


def _rows_by_task(record: dict[str, Any], free: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """lm_eval's rows of each task, then those that come free with its log-likelihoods."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in record["rows"]:
        found.setdefault(row["task"], []).append(row)
    choices = record.get("choices", {})
    wanted = _wanted(choices.get("higher_is_better", {}), free)
    for task, figures in choices.get("figures", {}).items() if wanted else ():
        for metric in filter(wanted.__contains__, figures):
            value, stderr, n, chance = figures[metric]
            found[task].append(
                {
                    **found[task][0],
                    "metric": metric,
                    "filter": "none",
                    "value": value,
                    "stderr": stderr,
                    "n": n,
                    "chance": chance,
                    "higher_is_better": choices["higher_is_better"][metric],
                    "doc_range": None,
                    "reason": None,
                }
            )
    for task, picks in choices.get("picks", {}).items():
        band = min(picks["constant"]), max(picks["constant"])
        for row in found[task]:
            if row["metric"] in HABIT_RAISES:
                row |= {"constant": band, "fixed_choices": picks["fixed"]}
    return found


def _wanted(names: Collection[str], patterns: Sequence[str]) -> set[str]:
    hits = [{name for name in names if matches(name, [pattern])} for pattern in patterns]
    return set().union(*hits) if all(hits) else set(names)


def read_settings(path: Path) -> dict[str, Any]:
    """What the newest run asked and with what: settings, versions, plan; empty before the first run."""
    results = open_results(path)
    runs = runs_newest_first(results)
    if not runs:
        return {}
    newest: dict[str, Any] = runs[0]
    return {**newest, "plan": read_json(results.plan_path(newest["plan_id"]))}


def current_records(results: ResultsFolder) -> Iterator[tuple[str, dict[str, Any]]]:
    """(plan id, checkpoint record) of each checkpoint's newest figures, ordered as `read_measurements`."""
    runs = runs_newest_first(results)
    plans = list(dict.fromkeys(run["plan_id"] for run in runs))
    asked = who_was_asked(runs)
    for checkpoints in _checkpoints(results, runs).values():
        for record in checkpoints:
            for plan_id in plans:
                if (
                    asked(plan_id, record)
                    and results.metrics_path(plan_id, record["model_id"], record["numerics"]).exists()
                ):
                    yield plan_id, record
                    break


def checkpoints_of(results: ResultsFolder, series: str) -> list[dict[str, Any]]:
    """The records of a series' checkpoints, as `run.records.note_visit` writes them, by step.

    Raises:
        ResultsError: one is damaged.
    """
    folder = results.path / "store" / "checkpoints" / safe_name(series)
    records = [_checked(read_json(path), path) for path in inside.files(folder, "*.json")]
    return sorted((record for record in records if record.get("model_id")), key=_place)


def figures_of_plan(
    results: ResultsFolder, plan_id: str, checkpoint: dict[str, Any]
) -> list[tuple[str, Measurement]]:
    """(setting, figure) of a checkpoint record for one plan, in the plan's order; empty before it is scored.

    Raises:
        ResultsError: the figures' record is damaged.
    """
    path = results.metrics_path(plan_id, checkpoint["model_id"], checkpoint["numerics"])
    if not path.exists():
        return []
    rows = read_json(path)["rows"]
    return [(row["setting"], as_measurement(checkpoint["series"], checkpoint, row)) for row in rows]


def checkpoint_records(results: ResultsFolder) -> Iterator[dict[str, Any]]:
    """The record of every checkpoint that stands for a model, ordered as `read_measurements`."""
    for records in _checkpoints(results, runs_newest_first(results)).values():
        yield from records


def scored_checkpoints(path: Path) -> set[tuple[str, str]]:
    """(series, checkpoint) of every checkpoint that has figures.

    Raises:
        ResultsError: not a results folder.
    """
    return {(m.series, m.checkpoint) for m in read_measurements(path)}


def without_figures(path: Path, measured: Iterable[Measurement]) -> list[Visited]:
    """The checkpoints that a run has come to and that none of the figures are of: gaps in their series.

    They could not be used, or were asked otherwise than the newest run.

    Args:
        measured: all current figures, as `read_measurements` gives them.

    Raises:
        ResultsError: not a results folder, or a damaged record.
    """
    have = {(one.series, one.checkpoint) for one in measured}
    visits = (Visited(one["series"], one["checkpoint"], one["step"]) for one in _visits(open_results(path)))
    return [visit for visit in visits if (visit.series, visit.checkpoint) not in have]


def runs_folder(results: ResultsFolder) -> Path:
    """Where it is noted what was asked, a file per run and plan."""
    return results.path / "store" / "runs"


def runs_newest_first(results: ResultsFolder) -> list[dict[str, Any]]:
    """The records of `ResultsFolder.write_run`.

    Raises:
        ResultsError: one is damaged.
    """
    return [read_json(path) for path in reversed(results.run_paths())]


def newest_together(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of the newest command: one for each plan that its checkpoints needed.

    Args:
        runs: the records of `runs_newest_first`.
    """
    if not runs:
        return []
    together = runs[: runs[0].get("n_records", 1)]
    return [run for run in together if run.get("command") == runs[0].get("command")]


def who_was_asked(runs: Iterable[Mapping[str, Any]]) -> Callable[[str, Mapping[str, Any]], bool]:
    """Whether a plan was meant for a checkpoint, given its id and the checkpoint's record.

    Two checkpoints can be the same model and still be asked differently: with another limit, or as their own
    generation_config.json says.

    Args:
        runs: the records of `runs_newest_first`; early ones name only the series.
    """
    meant: set[tuple[str, str, str | None]] = set()
    for run in runs:
        for series in run["series"]:
            names = run.get("checkpoints", {}).get(series, [None])
            meant |= {(run["plan_id"], series, name) for name in names}

    def asked(plan_id: str, record: Mapping[str, Any]) -> bool:
        series = record["series"]
        return bool({(plan_id, series, record["checkpoint"]), (plan_id, series, None)} & meant)

    return asked


def _checkpoints(results: ResultsFolder, runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Checkpoint records by series, in the order of steps; series in the order they were asked for."""
    order = {series: None for run in reversed(runs) for series in run["series"]}
    found: dict[str, list[dict[str, Any]]] = {series: [] for series in order}
    for record in _visits(results):
        if record.get("model_id"):
            found.setdefault(record["series"], []).append(record)
    for records in found.values():
        records.sort(key=_place)
    return found


def _visits(results: ResultsFolder) -> Iterator[dict[str, Any]]:
    """The record of each checkpoint's last visit; it has no model where the checkpoint could not be used."""
    for path in inside.files_below(results.path / "store" / "checkpoints", "*.json"):
        yield _checked(read_json(path), path)


_ENTRIES: dict[str, tuple[type, ...]] = {
    "series": (str,),
    "checkpoint": (str,),
    "step": (int, type(None)),
    "model_id": (str, type(None)),
    "numerics": (str, type(None)),
    "source": (str, type(None)),
}


def _checked(record: Any, path: Path) -> dict[str, Any]:
    """A checkpoint's record, if its entries are what they should be: it may be a stranger's.

    Raises:
        ResultsError: they are not.
    """
    entries = record if isinstance(record, dict) else {}
    wrong = [
        name
        for name, kinds in _ENTRIES.items()
        if not isinstance(entries.get(name), kinds if name in entries else object)
        or isinstance(entries.get(name), bool)
    ]
    if not {"series", "checkpoint", "step"} <= entries.keys() or wrong:
        raise damaged(
            path, ValueError(f"its entries are not a checkpoint's: {', '.join(wrong) or 'one lacks'}")
        )
    return entries


def _place(record: dict[str, Any]) -> tuple[bool, int, str]:
    return step_order(record["step"], record["checkpoint"])


def as_measurement(series: str, checkpoint: Mapping[str, Any], row: Mapping[str, Any]) -> Measurement:
    """A row of a metrics record, of the checkpoint with this record."""
    return Measurement(
        series=series,
        checkpoint=checkpoint["checkpoint"],
        step=checkpoint["step"],
        task=row["task"],
        metric=row["metric"],
        filter=row["filter"],
        value=row["value"],
        stderr=row["stderr"],
        n=row["n"],
        chance=row["chance"],
        higher_is_better=row["higher_is_better"],
        kind=row["kind"],
        alias=row["alias"],
        parents=tuple(row["parents"]),
        num_fewshot=row["num_fewshot"],
        constant=tuple(row["constant"]) if row.get("constant") else None,
        fixed_choices=row.get("fixed_choices", False),
        reason=row.get("reason"),
        doc_range=tuple(row["doc_range"]) if row.get("doc_range") else None,
        dtype=str(checkpoint.get("numerics") or "").partition("-")[0] or None,
    )
