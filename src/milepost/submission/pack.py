"""Write the zip: records, their sizes and hashes, and the metrics as CSV.

Unpacked it is a results folder again, for `milepost show` and `milepost verify`. The same folder gives the
same bytes on any machine: names sorted, one date, one mode, nothing compressed (Parquet is, and zlib's output
differs between versions).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from milepost.analysis import Row, record
from milepost.errors import ResultsError, StorageError
from milepost.report.files import check_target
from milepost.report.lm_eval_files import lm_eval_files
from milepost.report.long_table import as_csv
from milepost.results.selection import select_all_rows
from milepost.store import ResultsFolder, ResultsIndex, file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import atomic_file
from milepost.store.json_codec import encode
from milepost.store.layout import KINDS_WITH_PLACES, RESULT_KINDS
from milepost.store.records import PlanRecord
from milepost.submission.additions import read_additions
from milepost.submission.checks import gaps, refuse_leaks, refuse_unsound
from milepost.tasks.registry import source_named, source_of
from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase
from milepost.version import __version__

MANIFEST = "submission.json"
FIGURES = "results.csv"
ONE_DATE = (1980, 1, 1, 0, 0, 0)
"""The first that a zip can hold."""
READABLE = 0o644
DEFAULT_MOST_MB = 1000


@dataclass(frozen=True, slots=True)
class Packed:
    """The zip that was written."""

    path: Path
    n_files: int
    n_bytes: int
    sha256: str
    notes: tuple[str, ...]
    """Remarks for the sender: gaps, checks that could not be made, tasks that others do not have."""


def pack(
    path: Path,
    output: Path,
    *,
    task_files: Sequence[Path] = (),
    patches: Sequence[Path] = (),
    partial: bool = False,
    allow_shared: bool = False,
    lm_eval: bool = False,
    most_mb: float = DEFAULT_MOST_MB,
) -> Packed:
    """Check the results folder at `path` and write it to the zip `output`.

    Args:
        task_files: YAML of own tasks, to go along.
        patches: unified diffs to go along.
        partial: whether checkpoints may lack metrics.
        allow_shared: whether scored docs may be examples because the benchmark has them in two splits.
        lm_eval: whether lm_eval's own files, `results_*.json` and `samples_*.jsonl`, go along.
        most_mb: largest size, in millions of bytes.

    Raises:
        ResultsError: not a results folder, damaged, unfinished, too large, a scored doc among the examples,
            or the zip cannot be written; nothing has been written then.
        TaskError: task YAML that does not parse.
    """
    check_target(output, (".zip",))
    index = ResultsIndex.open(path)
    results = index.folder
    n_checked = refuse_unsound(results)
    rows = select_all_rows(index) if index.scored else []
    lacking = gaps(index)
    _refuse_unfinished(path, rows, lacking, partial)
    _refuse_secrets(results)
    plans = _plans(index)
    examples = refuse_leaks(results, plans, allow_shared=allow_shared)
    added = read_additions(task_files, patches)
    content: dict[str, Path | bytes] = {
        **{file.relative_to(results.path).as_posix(): file for file in sorted(_records(results))},
        **added,
        **({name.as_posix(): data for name, data in lm_eval_files(index)} if lm_eval else {}),
        FIGURES: as_csv(rows).encode(),
    }
    _refuse_large(content, most_mb)
    manifest = {
        "format": "milepost-submission",
        "version": 1,
        "milepost": __version__,
        "series": _series(index),
        "plans": {plan_id: _described(plan) for plan_id, plan in plans.items()},
        "figures": [record(row) for row in rows],
        "checks": {"records_verified": n_checked, "without_figures": lacking, **asdict(examples)},
        "files": [{"path": name, **_sum(content[name])} for name in sorted(content)],
    }
    content[MANIFEST] = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True).encode()
    _write(output, content)
    data = output.read_bytes()
    own = [] if task_files else _own_tasks(plans)
    notes = (
        *lacking,
        *examples.unchecked,
        *(
            f"{task}: {len(docs)} scored docs are among the examples"
            for task, docs in examples.shared.items()
        ),
        *(f"{name} is not a task of lm_eval's: pass --task-yaml FILE" for name in own),
    )
    return Packed(output, len(content), len(data), hashlib.sha256(data).hexdigest(), notes)


def _refuse_unfinished(path: Path, rows: Sequence[Row], lacking: Sequence[str], partial: bool) -> None:
    if not rows:
        hint = "run `milepost run` to the end of a checkpoint first"
        raise ResultsError(Phrase("{path} has no metrics yet", path=path), hint)
    if lacking and not partial:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        hint = "finish the run, or pass --partial to hand in what there is"
        raise ResultsError(Phrase("{what}{more}", what=lacking[0], more=more), hint)


def _records(results: ResultsFolder) -> Iterable[Path]:
    yield results.marker_path
    for kind in RESULT_KINDS:
        for suffix in ("json", "parquet"):
            yield from listing.files_below(results.folder_of(kind), f"*.{suffix}")


def _plans(index: ResultsIndex) -> dict[str, PlanRecord]:
    """Return the plans that have metrics, by their ids."""
    scored = [path.name for path in listing.folders(index.folder.folder_of("metrics"))]
    return {plan_id: index.plan(plan_id) for plan_id in scored}


def _series(index: ResultsIndex) -> dict[str, list[dict[str, Any]]]:
    """Return the model id of each checkpoint, by series."""
    names = dict.fromkeys(name for run in index.runs for name in run.series)
    keys = ("checkpoint", "step", "source", "format", "model_id", "numerics")
    checkpoints = {name: [encode(one) for one in index.checkpoints(name)] for name in sorted(names)}
    return {name: [{key: one.get(key) for key in keys} for one in own] for name, own in checkpoints.items()}


def _described(plan: PlanRecord) -> dict[str, Any]:
    """Return a description of settings, series and versions."""
    return {
        "asked": plan.asked,
        "versions": plan.settings["versions"],
        "tokenizer_id": plan.tokenizer_id,
        "max_length": plan.max_length,
        "tasks": {
            task.name: {"task_id": task.task_id, "n_docs": task.n_docs, **plan.described[task.name]}
            for task in plan.tasks
        },
    }


def _own_tasks(plans: Mapping[str, PlanRecord]) -> list[str]:
    """Return the tasks that others cannot run without the user's YAML."""
    names: dict[str, list[str]] = {}
    for plan in plans.values():
        if plan.asked.get("include_path"):
            for name, described in plan.described.items():
                names.setdefault(source_of(described), []).append(name)
    return [task for source, own in names.items() for task in source_named(source).user_tasks(own)]


def _refuse_secrets(results: ResultsFolder) -> None:
    """Refuse what the first versions stored with a password in an address; later ones store none.

    Raises:
        ResultsError: a record that tells of a command or a place holds one.
    """
    for kind in sorted(KINDS_WITH_PLACES.intersection(RESULT_KINDS)):
        for path in listing.files_below(results.folder_of(kind), "*.json"):
            text = inside.read_bytes(path).decode("utf-8", "replace")
            if without_secrets(text) != text:
                raise ResultsError(
                    Phrase("{path} holds a password or a token", path=path),
                    "an earlier version stored it; score the checkpoint into a new results folder",
                )


def _refuse_large(content: Mapping[str, Path | bytes], most_mb: float) -> None:
    sizes = {
        name: file_state.size_of(one) if isinstance(one, Path) else len(one) for name, one in content.items()
    }
    total = sum(sizes.values())
    if total > most_mb * 1e6:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ResultsError(
            Phrase(
                "the submission would have {total:,.1f} MB, more than {most_mb:g} MB;"
                " the largest file is {largest} ({size:,.1f} MB)",
                total=total / 1e6,
                most_mb=most_mb,
                largest=largest,
                size=sizes[largest] / 1e6,
            ),
            "pass a larger --max-mb, or pack a results folder with fewer checkpoints",
        )


def _sum(one: Path | bytes) -> dict[str, Any]:
    data = inside.read_bytes(one) if isinstance(one, Path) else one
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _write(output: Path, content: Mapping[str, Path | bytes]) -> None:
    try:
        with atomic_file(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(content):
                one = content[name]
                entry = zipfile.ZipInfo(name, ONE_DATE)
                entry.create_system = 3  # Unix, wherever this runs: the mode below is written for it
                entry.external_attr = READABLE << 16
                archive.writestr(entry, inside.read_bytes(one) if isinstance(one, Path) else one)
    except StorageError as error:
        raise ResultsError(error.message, "free space, or choose another -o") from error
