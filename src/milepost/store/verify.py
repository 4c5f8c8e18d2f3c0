"""Check that every record of a results folder is what was written, and name the command that redoes one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from milepost.buckets import in_bucket
from milepost.errors import ResultsError
from milepost.files.results_marker import MARKER
from milepost.store import confinement, file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import read_json, write_json
from milepost.store.cleanup import leftovers
from milepost.store.folder import FORMAT_VERSION, ResultsFolder, is_results_folder, open_folder
from milepost.store.layout import RECORD_KINDS, model_of
from milepost.store.metrics_record import MetricsRecord
from milepost.store.records import PlanRecord, RunRecord, read_if_intact
from milepost.store.tables import read_table
from milepost.text.language import Phrase

SCORE_COLUMNS = (["loglikelihood", "greedy"], ["loglikelihood", "greedy", "generated"])


@dataclass(frozen=True, slots=True)
class Finding:
    """A file with a fault."""

    kind: Literal["damaged", "missing", "left over"]
    path: Path
    reason: str
    redo: str | None
    """The command that makes it anew; None where nothing is lost, or none is known."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of a check of every record."""

    results: ResultsFolder
    n_checked: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Return whether no record is damaged or missing; leftovers of a killed process do no harm."""
        return all(finding.kind == "left over" for finding in self.findings)


def verify(path: Path) -> Verification:
    """Read every record of the results folder at `path` and compare it with its checksum.

    Raises:
        ResultsError: it is not a results folder.
    """
    results = ResultsFolder(path) if is_results_folder(path) else open_folder(path)
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
            reason = error.message.removeprefix(f"cannot read {record}: ")
            findings.append(Finding("damaged", record, reason, look.command_for(record)))
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
    """Remove damaged and left-over files, so that the next run makes them anew."""
    for finding in found.findings:
        if finding.kind != "missing":
            inside.remove(finding.path)
    marker = found.results.marker_path
    if not file_state.is_file(marker):
        write_json(marker, {"format": "milepost-results", "version": FORMAT_VERSION})


class _Look:
    """A results folder, with the facts in its intact plans and runs about its other records."""

    def __init__(self, results: ResultsFolder) -> None:
        self._results = results
        self._store = results.store

    def records(self) -> Iterator[Path]:
        """Yield every file in the place of a record; nothing behind a link out of the folder."""
        yield self._results.marker_path
        for kind in RECORD_KINDS:
            if file_state.folder_exists(self._store / kind) and not confinement.leads_out(self._store / kind):
                for path in listing.walk(self._store / kind):
                    is_record = path.suffix in (".json", ".parquet") and not path.name.startswith(".")
                    if is_record and not confinement.leads_out(path):
                        yield path

    def links(self) -> Iterator[Path]:
        """Yield links that lead out of the folder, wherever they are."""
        for path in listing.walk(self._results.path):
            if not in_bucket(path) and path.is_symlink() and confinement.leads_out(path):
                yield path

    def check(self, path: Path) -> None:
        """Check one record. Raises: ResultsError if it is not what was written."""
        if path.suffix == ".json":
            read_json(path)
            return
        table = read_table(path)
        kind = self._kind(path)
        rows = {"scores": self._rows_of_shard, "docs": self._docs_of_task}.get(kind, {}).get(path.stem)
        if rows is not None and len(table) != rows:
            raise ResultsError(Phrase("it has {n} rows instead of {rows}", n=len(table), rows=rows))
        if kind == "scores" and table.column_names not in SCORE_COLUMNS:
            raise ResultsError(Phrase("its columns are {names}", names=table.column_names))

    def missing(self) -> Iterator[Finding]:
        """Yield records from which metrics were computed and that are no longer there."""
        for plan_id, plan in self._plans.items():
            for path in _files(self._results.metrics_folder(plan_id)):
                record = read_if_intact(MetricsRecord, path)
                if record is not None:  # else found damaged already
                    for source in self._sources(plan, path, record):
                        if not file_state.exists(source):
                            reason = "there are metrics that were computed from it"
                            yield Finding("missing", source, reason, self._commands.get(plan_id))

    def _sources(self, plan: PlanRecord, path: Path, record: MetricsRecord) -> Iterator[Path]:
        results, model = self._results, model_of(path)
        chosen = record.choices.picks if record.choices is not None else {}
        if chosen:
            yield results.picks_path(path.parent.name, *model)
        for task in plan.tasks:
            for shard in task.shards:
                yield results.score_path(*model, shard.shard_id)
            yield results.docs_path(task.docs_id)
            if task.name in chosen:
                yield results.choices_path(task.docs_id)
            if task.name not in record.missing:
                yield results.doc_metrics_path(task.counted_id, *model)

    def command_for(self, path: Path) -> str | None:
        """Return the command of the newest run whose plan the record belongs to, else of the newest run."""
        kind = self._kind(path)
        in_folder = kind in ("metrics", "picks", "doc_metrics")
        name = path.parent.name if in_folder else path.name.partition(".")[0]
        newest = next(reversed(self._commands.values()), None) if kind != MARKER else None
        return self._command_of.get((kind, name), newest)

    @cached_property
    def _command_of(self) -> dict[tuple[str, str], str]:
        """(kind, name) of a record to the command of the newest run that needs it."""
        found: dict[tuple[str, str], str] = {}
        for plan_id, command in self._commands.items():
            found |= dict.fromkeys([("plans", plan_id), ("metrics", plan_id), ("picks", plan_id)], command)
            plan = self._plans.get(plan_id)
            for task in plan.tasks if plan is not None else ():
                found |= dict.fromkeys([("docs", task.docs_id), ("choices", task.docs_id)], command)
                found["doc_metrics", task.counted_id] = command
                found |= {("scores", shard.shard_id): command for shard in task.shards}
        return found

    def _kind(self, path: Path) -> str:
        return path.relative_to(self._store).parts[0] if path.is_relative_to(self._store) else MARKER

    @cached_property
    def _commands(self) -> dict[str, str]:
        """Plan id to the command of its newest run, newest last."""
        found: dict[str, str] = {}
        for path in self._runs():
            record = read_if_intact(RunRecord, path)
            if record is not None and record.command:
                found.pop(record.plan_id, None)
                found[record.plan_id] = record.command
        return found

    def _runs(self) -> list[Path]:
        try:
            return self._results.run_paths()
        except ResultsError:
            return []  # a link, found damaged already

    @cached_property
    def _plans(self) -> dict[str, PlanRecord]:
        paths = [
            path for path in _files(self._results.folder_of("plans")) if not path.stem.endswith(".lm_eval")
        ]
        plans = {path.stem: read_if_intact(PlanRecord, path) for path in paths}
        return {plan_id: plan for plan_id, plan in plans.items() if plan is not None}

    @cached_property
    def _rows_of_shard(self) -> dict[str, int]:
        return {
            shard.shard_id: shard.last - shard.first
            for plan in self._plans.values()
            for task in plan.tasks
            for shard in task.shards
        }

    @cached_property
    def _docs_of_task(self) -> dict[str, int]:
        return {task.docs_id: task.n_docs for plan in self._plans.values() for task in plan.tasks}


def _files(folder: Path) -> list[Path]:
    """Return the JSON records in a folder; empty if one leads out, which is found damaged already."""
    try:
        return listing.files(folder, "*.json")
    except ResultsError:
        return []
