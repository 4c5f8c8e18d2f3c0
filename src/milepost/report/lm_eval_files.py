"""Results as lm-evaluation-harness writes them, for the tools that read its files.

`<out>/<checkpoint>/<model__name>/results_<time>.json` and `samples_<task>_<time>.jsonl`, with its keys. Made
from the store alone, so an export needs neither lm_eval nor the data.
Source: lm_eval/loggers/evaluation_tracker.py (0.4.13).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePath
from typing import Any

from milepost.errors import ResultsError
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.atomic_files import read_json, write_atomically
from milepost.store.columns import harness_metrics
from milepost.store.confinement import confine
from milepost.store.file_names import file_part
from milepost.store.records import CheckpointRecord, PlannedTask, PlanRecord
from milepost.store.tables import read_table
from milepost.text.language import Phrase


def export_lm_eval(index: ResultsIndex, out: Path, only: set[tuple[str, str]] | None = None) -> list[Path]:
    """Write lm_eval's files of every current checkpoint, and return the paths of the results files.

    Args:
        only: (series, checkpoint) pairs to export; None for all.

    Raises:
        ResultsError: there is nothing to export, or a damaged record.
    """
    confine(out)
    written = []
    for name, data in lm_eval_files(index, only):
        write_atomically(out / name, data)
        if name.name.startswith("results_"):
            written.append(out / name)
    if not written:
        raise ResultsError(
            Phrase("{path} has no metrics yet", path=index.folder.path),
            "run `milepost run` to the end of a checkpoint first",
        )
    return written


def lm_eval_files(
    index: ResultsIndex, only: set[tuple[str, str]] | None = None
) -> Iterator[tuple[PurePath, bytes]]:
    """Yield lm_eval's files: names below an output folder, and contents; the same for the same records.

    A checkpoint has a results file for each plan (a command with other tasks or settings) and dtype; the time
    in its name is when that was first asked. Arguments and errors as of `export_lm_eval`.
    """
    used: set[tuple[PurePath, datetime]] = set()
    for plan_id, checkpoint in index.current_plans():
        if only is not None and (checkpoint.series, checkpoint.name) not in only:
            continue
        place = index.folder.log_folder(checkpoint.series, checkpoint.name).relative_to(index.folder.path)
        moment = datetime.fromtimestamp(index.asked_since(plan_id), timezone.utc)
        while (place, moment) in used:
            moment += timedelta(microseconds=1)
        used.add((place, moment))
        yield from _files_of_plan(index, place, plan_id, checkpoint, moment)


def _files_of_plan(
    index: ResultsIndex, place: PurePath, plan_id: str, checkpoint: CheckpointRecord, moment: datetime
) -> Iterator[tuple[PurePath, bytes]]:
    folder, plan = index.folder, index.plan(plan_id)
    metrics = index.metrics_record(plan_id, checkpoint)
    stamp = moment.replace(tzinfo=None).isoformat(timespec="microseconds").replace(":", "-")
    hashes = {}
    for task in plan.tasks:
        if task.name in metrics.missing or "source" in plan.settings["tasks"][task.name]:
            continue  # without metrics, or not lm_eval's
        samples = list(_samples(folder, task, checkpoint))
        joined = "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples)
        hashes[task.name] = hashlib.sha256(joined.encode()).hexdigest()
        lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
        yield place / f"samples_{file_part(task.name)}_{stamp}.jsonl", lines.encode()
    content = {
        **metrics.lm_eval,
        **read_json(folder.lm_eval_tables_path(plan_id)),
        "config": _config(plan, checkpoint),
        **_environment(plan, moment),
        "task_hashes": hashes,
        **_experiment(plan, checkpoint),
    }
    yield place / f"results_{stamp}.json", json.dumps(content, ensure_ascii=False, indent=2).encode()


def _samples(
    folder: ResultsFolder, task: PlannedTask, checkpoint: CheckpointRecord
) -> Iterator[dict[str, Any]]:
    """Yield one entry per doc and filter, in lm_eval's order and with its spelling of numbers as strings."""
    docs = {row["doc_id"]: row for row in read_table(folder.docs_path(task.docs_id)).to_pylist()}
    responses = _responses(folder, task, checkpoint, docs)
    path = folder.doc_metrics_path(task.counted_id, *checkpoint.model)
    for row in read_table(path).to_pylist():
        doc = docs[row["doc_id"]]
        metrics = harness_metrics(row)
        yield {
            "doc_id": row["doc_id"],
            "doc": json.loads(doc["doc"]),
            "target": doc["target"],
            "arguments": {
                f"gen_args_{i}": {f"arg_{j}": text for j, text in enumerate(arguments)}
                for i, arguments in enumerate(json.loads(doc["arguments"]))
            },
            "resps": responses[row["doc_id"]],
            "filtered_resps": _as_strings(json.loads(row["filtered"])),
            "filter": row["filter"],
            "metrics": list(metrics),
            "doc_hash": doc["doc_hash"],
            "prompt_hash": doc["prompt_hash"],
            "target_hash": doc["target_hash"],
            **metrics,
        }


def _responses(
    folder: ResultsFolder, task: PlannedTask, checkpoint: CheckpointRecord, docs: dict[int, dict[str, Any]]
) -> dict[int, list[Any]]:
    """Return the answers by doc, one per request: [[[log-likelihood, greedy]], ...] as strings."""
    answers: list[Any] = []
    for shard in task.shards:
        path = folder.score_path(*checkpoint.model, shard.shard_id)
        scores = (column.tolist() for column in folder.read_scores(path))
        answers += zip(*scores, folder.read_generated(path), strict=True)
    found: dict[int, list[Any]] = {}
    place = 0
    for doc_id, doc in docs.items():
        arguments = json.loads(doc["arguments"])
        own = answers[place : place + len(arguments)]
        place += len(arguments)
        found[doc_id] = [_response(asked, *answer) for asked, answer in zip(arguments, own, strict=True)]
    return found


def _response(asked: list[Any], loglikelihood: float, greedy: bool, texts: list[str] | None) -> list[Any]:
    if texts is not None:
        return texts
    return [str(loglikelihood)] if len(asked) == 1 else [[str(loglikelihood), str(greedy)]]


def _config(plan: PlanRecord, checkpoint: CheckpointRecord) -> dict[str, Any]:
    asked = plan.asked
    seeds = asked["seeds"]
    model_id, numerics = checkpoint.model
    dtype = numerics.split("-")[0]
    return {
        "model": "milepost",
        "model_args": {"pretrained": checkpoint.source, "dtype": dtype},
        "model_num_parameters": checkpoint.n_parameters,
        "model_dtype": dtype,
        "model_revision": checkpoint.name,
        "model_sha": model_id,
        "batch_size": None,
        "batch_sizes": [],
        "device": checkpoint.device,
        "use_cache": None,
        "limit": asked["limit"],
        "bootstrap_iters": None,
        "gen_kwargs": None,
        "random_seed": seeds["python"],
        "numpy_seed": seeds["numpy"],
        "torch_seed": seeds["torch"],
        "fewshot_seed": seeds["fewshot"],
    }


def _environment(plan: PlanRecord, moment: datetime) -> dict[str, Any]:
    versions, tokens = plan.settings["versions"], plan.settings["tokenizer"]
    return {
        "git_hash": None,
        "date": moment.timestamp(),
        "pretty_env_info": "\n".join(f"{name}: {version}" for name, version in versions.items()),
        "transformers_version": versions["transformers"],
        "lm_eval_version": versions["lm_eval"],
        "upper_git_hash": None,
        **{f"tokenizer_{kind}_token": tokens[kind] for kind in ("pad", "eos", "bos")},
        "eot_token_id": int(tokens["eos"][1]) if tokens["eos"][1] != "None" else None,
        "max_length": plan.max_length,
    }


def _experiment(plan: PlanRecord, checkpoint: CheckpointRecord) -> dict[str, Any]:
    asked = plan.asked
    instruction = asked["system_instruction"]
    return {
        "model_source": "milepost",
        "model_name": checkpoint.source,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", checkpoint.source or ""),
        "system_instruction": instruction,
        "system_instruction_sha": hashlib.sha256(instruction.encode()).hexdigest() if instruction else None,
        "fewshot_as_multiturn": asked["fewshot_as_multiturn"],
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": "",
    }


def _as_strings(value: Any) -> Any:
    return [_as_strings(item) for item in value] if isinstance(value, list) else str(value)
