"""Checks before packing: records are whole, the run is finished, no scored doc is shown as an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from milepost.errors import ResultsError
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.atomic_files import read_json
from milepost.store.records import PlannedTask, PlanRecord
from milepost.store.status import read_status
from milepost.store.tables import read_table
from milepost.store.verify import verify
from milepost.store.workers import live_workers
from milepost.submission.leaks import Layout, Leak, draws_from_what_it_scores, find_leaks
from milepost.text.language import Phrase

CHAT = "few-shot examples inside a chat template are not compared with the docs"


def refuse_unsound(results: ResultsFolder) -> int:
    """Verify all records and return their number.

    Raises:
        ResultsError: one is damaged or missing, or a process is at work here.
    """
    workers = live_workers(results)
    if workers:
        raise ResultsError(
            Phrase("process {process} is at work on {path}", process=workers[0].process, path=results.path),
            "pack it when the run is over; `milepost status` says how far it is",
        )
    found = verify(results.path)
    wrong = [finding for finding in found.findings if finding.kind != "left over"]
    if wrong:
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ResultsError(
            Phrase(
                "{path} is {kind}: {reason}{more}",
                path=first.path.relative_to(results.path),
                kind=first.kind,
                reason=first.reason,
                more=more,
            ),
            Phrase("`milepost verify {path}` lists all, with what to do", path=results.path),
        )
    return found.n_checked


def gaps(index: ResultsIndex) -> list[str]:
    """Return one line for each requested result that has no metrics."""
    found = []
    for series in read_status(index).series:
        for one in series.checkpoints:
            if one.failure:
                found.append(f"{series.series}/{one.checkpoint}: {one.failure}")
            elif not one.has_metrics:
                found.append(f"{series.series}/{one.checkpoint}: not scored")
    return found


@dataclass(frozen=True, slots=True)
class Examples:
    """Result of the search for scored docs among the examples of prompts."""

    shared: dict[str, list[Leak]]
    """By task: scored docs that prompts show as examples because the data have them in two splits."""
    unchecked: tuple[str, ...]
    """Tasks that could not be checked, one line each."""


def refuse_leaks(results: ResultsFolder, plans: Mapping[str, PlanRecord], *, allow_shared: bool) -> Examples:
    """Compare the examples in every prompt with the docs that are scored.

    Some benchmarks have the same doc in two splits (ARC-Easy has 4 of its test docs among its training docs,
    OpenBookQA and PIQA a few). That is nobody's doing, so it may be allowed; examples drawn from the scored
    split may not.

    Raises:
        ResultsError: a doc that is scored is an example in a prompt, and that is not allowed.
    """
    shared: dict[str, list[Leak]] = {}
    unchecked = []
    for plan_id, plan in plans.items():
        if plan.asked.get("apply_chat_template"):
            unchecked.append(CHAT)
            continue
        for task, config in _with_examples(results, plan_id, plan):
            docs = read_table(results.docs_path(task.docs_id)).to_pylist()
            leaks = find_leaks(docs, _layout(config))
            if leaks and (draws_from_what_it_scores(config) or not allow_shared):
                raise _leaked(task.name, leaks, config)
            if leaks:
                shared[task.name] = leaks
    return Examples(shared, tuple(dict.fromkeys(unchecked)))


def _leaked(task: str, leaks: Sequence[Leak], config: Mapping[str, Any]) -> ResultsError:
    more = f" (and {len(leaks) - 1} more such docs)" if len(leaks) > 1 else ""
    shown, where = leaks[0].shown_doc, leaks[0].in_prompt_of
    same = draws_from_what_it_scores(config)
    return ResultsError(
        Phrase(
            "{task}: the prompt of doc {where} shows doc {shown}, which is scored, with its answer{more}",
            task=task,
            where=where,
            shown=shown,
            more=more,
        ),
        "take examples from another split than the scored one (fewshot_split), or ask 0-shot"
        if same
        else "the data has it in both splits: --allow-shared packs it and lists these docs; or ask 0-shot",
    )


def _layout(config: Mapping[str, Any]) -> Layout:
    return Layout(
        example_delimiter=str(config.get("fewshot_delimiter", "\n\n")),
        answer_delimiter=str(config.get("target_delimiter", " ")),
        description=str(config.get("description") or ""),
    )


def _with_examples(
    results: ResultsFolder, plan_id: str, plan: PlanRecord
) -> Iterator[tuple[PlannedTask, dict[str, Any]]]:
    """Yield the tasks of a plan that show examples, with lm_eval's config of each."""
    configs = read_json(results.lm_eval_tables_path(plan_id))["configs"]
    for task in plan.tasks:
        if plan.described[task.name]["num_fewshot"]:
            yield task, configs[task.name]
