"""Whether every record of a results folder is what was written, and what to redo where one is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from milepost.errors import ResultsError
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import read_json, write_json
from milepost.store.cleanup import leftovers
from milepost.store.folder import (
    FORMAT_VERSION,
    MARKER,
    ResultsFolder,
    counted_id_of,
    docs_id_of,
    open_results,
)
from milepost.store.tables import read_table

KINDS = (
    "series",
    "runs",
    "plans",
    "docs",
    "checkpoints",
    "scores",
    "metrics",
    "doc_metrics",
    "choices",
    "picks",
    "recorded",
    "quick",
    "executed",
)
"""Folders of records below `store`."""

SCORE_COLUMNS = (["loglikelihood", "greedy"], ["loglikelihood", "greedy", "generated"])


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one file."""

    kind: Literal["damaged", "missing", "left over"]
    path: Path
    reason: str
    redo: str | None
    """The command that makes it anew; None where nothing is lost, or none is known."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look at every record found."""

    results: ResultsFolder
    n_checked: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no record is damaged or missing; what a killed process left behind does no harm."""
        return all(finding.kind == "left over" for finding in self.findings)


def verify(path: Path) -> Verification:
    """Read every record of the results folder at `path` and compare it with its checksum; changes nothing.

    Raises:
        ResultsError: it is no results folder.
    """
    results = ResultsFolder(path) if (path / MARKER).is_file() else open_results(path)
    look = _Look(results)
    findings: list[Finding] = []
    n_checked = 0
    for record in look.records():
        n_checked += 1
        try:
            look.check(record)
        except FileNotFoundError:
            n_checked -= 1  # it was replaced or removed by a run that goes on meanwhile
        except ResultsError as error:
            findings.append(Finding("damaged", record, error.message, look.command_for(record)))
    findings += [
        Finding("damaged", link, "it is a link out of the results folder", None) for link in look.links()
    ]
    findings += look.missing()
    findings += [
        Finding("left over", path, "its process ended before it was complete", None)
        for path in leftovers(results)
    ]
    return Verification(results, n_checked, tuple(findings))


def repair(found: Verification) -> None:
    """Remove what is damaged or left over, so that the next run makes it anew."""
    for finding in found.findings:
        if finding.kind != "missing":
            inside.remove(finding.path)
    marker = found.results.path / MARKER
    if not inside.is_file(marker):
        write_json(marker, {"format": "milepost-results", "version": FORMAT_VERSION})


class _Look:
    """One results folder, and what its intact plans and runs say of its other records."""

    def __init__(self, results: ResultsFolder) -> None:
        self._results = results
        self._store = results.path / "store"

    def records(self) -> Iterator[Path]:
        """Every record, and what is in the place of one; nothing behind a link out of the folder."""
        yield self._results.path / MARKER
        for kind in KINDS:
            if (self._store / kind).is_dir() and not inside.leads_out(self._store / kind):
                for path in inside.walk(self._store / kind):
                    is_record = path.suffix in (".json", ".parquet") and not path.name.startswith(".")
                    if is_record and not inside.leads_out(path):
                        yield path

    def links(self) -> Iterator[Path]:
        """Links that lead out of the folder, wherever in it."""
        for path in inside.walk(self._results.path):
            if path.is_symlink() and inside.leads_out(path):
                yield path

    def check(self, path: Path) -> None:
        """Raises: ResultsError if the record is not what was written."""
        if path.suffix == ".json":
            try:
                read_json(path)
            except ResultsError as error:
                raise ResultsError(_without(error.message, path)) from error
            return
        try:
            table = read_table(path)
        except ResultsError as error:
            raise ResultsError(_without(error.message, path)) from error
        kind = self._kind(path)
        rows = {"scores": self._rows_of_shard, "docs": self._docs_of_task}.get(kind, {}).get(path.stem)
        if rows is not None and len(table) != rows:
            raise ResultsError(f"it has {len(table)} rows instead of {rows}")
        if kind == "scores" and table.column_names not in SCORE_COLUMNS:
            raise ResultsError(f"its columns are {table.column_names}")

    def missing(self) -> Iterator[Finding]:
        """What figures were computed from, and is no longer there."""
        for plan_id, plan in self._plans.items():
            for metrics in _files(self._store / "metrics" / plan_id):
                model_id, _, numerics = metrics.stem.partition("-")
                for path in self._behind(plan, metrics, model_id, numerics):
                    if not path.exists():
                        reason = "there are figures that were computed from it"
                        yield Finding("missing", path, reason, self._commands.get(plan_id))

    def _behind(self, plan: Mapping[str, Any], metrics: Path, model_id: str, numerics: str) -> Iterator[Path]:
        try:
            record = read_json(metrics)
        except ResultsError:
            return  # found damaged already
        unanswered = record.get("missing", {})
        chosen = record.get("choices", {}).get("picks", {})
        if chosen:
            yield self._results.picks_path(metrics.parent.name, model_id, numerics)
        for task in plan["tasks"]:
            for shard_id, _, _ in task["shards"]:
                yield self._results.score_path(model_id, numerics, shard_id)
            yield self._results.docs_path(docs_id_of(task))
            if task["name"] in chosen:
                yield self._results.choices_path(docs_id_of(task))
            if task["name"] not in unanswered:
                yield self._results.doc_metrics_path(counted_id_of(task), model_id, numerics)

    def command_for(self, path: Path) -> str | None:
        """The command of the newest run whose plan the record belongs to."""
        kind = self._kind(path)
        for plan_id in reversed(self._commands):
            plan = self._plans.get(plan_id)
            tasks = plan["tasks"] if plan else []
            belongs = {
                "plans": path.name.startswith(plan_id),
                "metrics": path.parent.name == plan_id,
                "picks": path.parent.name == plan_id,
                "docs": any(docs_id_of(task) == path.stem for task in tasks),
                "choices": any(docs_id_of(task) == path.stem for task in tasks),
                "doc_metrics": any(counted_id_of(task) == path.parent.name for task in tasks),
                "scores": any(shard[0] == path.stem for task in tasks for shard in task["shards"]),
            }
            if belongs.get(kind, False):
                return self._commands[plan_id]
        return next(reversed(self._commands.values()), None) if kind != MARKER else None

    def _kind(self, path: Path) -> str:
        return path.relative_to(self._store).parts[0] if path.is_relative_to(self._store) else MARKER

    @cached_property
    def _commands(self) -> dict[str, str]:
        """Plan id to the command of its newest run, newest last."""
        found: dict[str, str] = {}
        for path in self._runs():
            record = _read_if_intact(path)
            if record is not None and record.get("command"):
                found.pop(record["plan_id"], None)
                found[record["plan_id"]] = record["command"]
        return found

    def _runs(self) -> list[Path]:
        try:
            return self._results.run_paths()
        except ResultsError:
            return []  # a link, found damaged already

    @cached_property
    def _plans(self) -> dict[str, Any]:
        paths = _files(self._store / "plans")
        found = {path.stem: _read_if_intact(path) for path in paths if not path.stem.endswith(".lm_eval")}
        return {plan_id: plan for plan_id, plan in found.items() if plan is not None and "tasks" in plan}

    @cached_property
    def _rows_of_shard(self) -> dict[str, int]:
        return {
            shard_id: last - first
            for plan in self._plans.values()
            for task in plan["tasks"]
            for shard_id, first, last in task["shards"]
        }

    @cached_property
    def _docs_of_task(self) -> dict[str, int]:
        return {docs_id_of(task): task["n_docs"] for plan in self._plans.values() for task in plan["tasks"]}


def _read_if_intact(path: Path) -> Any:
    try:
        return read_json(path)
    except ResultsError:
        return None


def _files(folder: Path) -> list[Path]:
    """The JSON records in a folder; none where one of them leads out, which is found damaged already."""
    try:
        return inside.files(folder, "*.json")
    except ResultsError:
        return []


def _without(message: str, path: Path) -> str:
    return message.removeprefix(f"cannot read {path}: ")
