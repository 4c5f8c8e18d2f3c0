"""Find the perplexities of each checkpoint in a results folder."""

from __future__ import annotations

from collections.abc import Collection

from milepost.analysis.perplexity import FIXED, TextPerplexity, tasks_of, text_perplexity
from milepost.store.doc_records import answers_of_plan
from milepost.store.index import ResultsIndex
from milepost.store.records import PlanRecord


def read_perplexities(
    index: ResultsIndex, *, text: str | None = None, only: Collection[str] | None = None
) -> list[TextPerplexity]:
    """Return every checkpoint's newest perplexities, by series and step.

    Args:
        index: the results of `milepost ppl`, or of a run of the tasks that `perplexity.tasks_of` names.
        text: name of the text; None for the newest.
        only: `series/checkpoint` names; None for all.

    Raises:
        ResultsError: a damaged record.
    """
    fitting = [plan_id for plan_id in index.plan_ids if _is_of_text(index.plan(plan_id), text)]
    found = []
    for checkpoint in index.checkpoints():
        if only is not None and checkpoint.full_name not in only:
            continue
        for plan_id in index.plans_with_metrics(checkpoint, fitting)[:1]:
            plan = index.plan(plan_id)
            answers = answers_of_plan(index, checkpoint, plan_id)
            parameters = plan.described[FIXED]["parameters"]
            if all(answers.tasks[task].values for task in _needed_tasks(plan)):
                found.append(
                    text_perplexity(
                        answers,
                        text=parameters["text"],
                        stride=parameters["stride"],
                        context=plan.max_length,
                        tokenizer_id=plan.tokenizer_id,
                    )
                )
    return found


def _is_of_text(plan: PlanRecord, text: str | None) -> bool:
    """Return whether a plan has every convention of a text (None: of any text)."""
    if FIXED not in plan.described or not _needed_tasks(plan) <= set(plan.described):
        return False
    return text is None or text == plan.described[FIXED]["parameters"]["text"]


def _needed_tasks(plan: PlanRecord) -> set[str]:
    return set(tasks_of(plan.described[FIXED]["parameters"]["text"], explain=False))
