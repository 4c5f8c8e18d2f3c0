"""Find the perplexities of each checkpoint in a results folder."""

from __future__ import annotations

from collections.abc import Collection

from milepost.analysis.perplexity import TextPerplexity, is_of_text, needed_tasks, text_perplexity
from milepost.store.doc_records import answers_of_plans
from milepost.store.index import ResultsIndex


def read_perplexities(
    index: ResultsIndex, *, text: str | None = None, only: Collection[str] | None = None
) -> list[TextPerplexity]:
    """Return every checkpoint's newest perplexities, by series and step.

    Args:
        index: of the results of `milepost ppl`, or of a run of the tasks that `perplexity.tasks_of` names.
        text: only on this one; None for the newest.
        only: `series/checkpoint` names; None for all.

    Raises:
        ResultsError: a damaged record.
    """
    fitting = [plan_id for plan_id in index.plan_ids if is_of_text(index.plan(plan_id), text)]
    found = []
    for checkpoint in index.checkpoints():
        if only is not None and checkpoint.full_name not in only:
            continue
        for plan_id in index.plans_with_metrics(checkpoint, fitting)[:1]:
            plan = index.plan(plan_id)
            answers = answers_of_plans(index, checkpoint, [plan_id])
            if all(answers.tasks[task].values for task in needed_tasks(plan)):
                found.append(text_perplexity(answers, plan))
    return found
