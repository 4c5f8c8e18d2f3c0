"""`milepost questions`: single questions, and what each checkpoint picked."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.analysis.questions import Kind, find_docs, join_histories, step_changes, totals
from milepost.cli.output import say, say_blocks, say_json
from milepost.cli.selection import patterns, results_argument, task_option
from milepost.errors import ResultsError
from milepost.report.blocks import Note
from milepost.report.questions import (
    LEGEND,
    ONE_CHECKPOINT,
    TEXT_LEGEND,
    question_record,
    question_report,
    stats_by_task,
    stats_record,
    stats_report,
)
from milepost.report.table import grouped
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.pick_history import Question, read_histories, read_questions
from milepost.text.language import Phrase, _
from milepost.types.histories import PickHistory

Doc = tuple[PickHistory, Question]


@click.command()
@results_argument
@task_option(help="Tasks or groups, by name or pattern.")
@click.option("--series", multiple=True, callback=patterns, help="Training runs, by name or pattern.")
@click.option("-n", "count", type=click.IntRange(min=1), default=5, show_default=True, help="Docs to show.")
@click.option("--doc-id", type=int, multiple=True, help="Docs by their places in the evaluation split.")
@click.option("--learned", "kind", flag_value="learned", help="Wrong at first, right at last.")
@click.option("--forgotten", "kind", flag_value="forgotten", help="Once right, wrong at last.")
@click.option("--always-wrong", "kind", flag_value="always-wrong", help="Wrong at every checkpoint.")
@click.option("--always-right", "kind", flag_value="always-right", help="Right at every checkpoint.")
@click.option("--flips", "kind", flag_value="flips", help="The docs whose answer changed most often.")
@click.option("--stats", is_flag=True, help="Count the docs learned and forgotten at each step.")
@click.option("--full", "whole", is_flag=True, help="Show the whole prompt, few-shot examples too.")
@click.option("--tokens", "as_tokens", is_flag=True, help="Show the first choice's prompt as tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print the questions as JSON.")
def command(
    results: Path,
    task: tuple[str, ...],
    series: tuple[str, ...],
    count: int,
    doc_id: tuple[int, ...],
    kind: Kind | None,
    stats: bool,
    whole: bool,
    as_tokens: bool,
    as_json: bool,
) -> None:
    """Show single questions of RESULTS, and what each checkpoint picked.

    \b
    milepost questions results --task mmlu_anatomy --learned -n 3
    """
    index = ResultsIndex.open(results)
    histories = read_histories(index, task, series, texts=True)
    if stats:
        _show_stats(histories, as_json)
        return
    found = _find(index.folder, histories, kind or "all", count, doc_id)
    tokens = [_tokens(results, *question) if as_tokens else None for question in found]
    if as_json:
        say_json(
            [
                question_record(*question) | ({} if pieces is None else {"tokens": pieces})
                for question, pieces in zip(found, tokens, strict=True)
            ]
        )
    elif found:
        several = len({history.series for history, _ in found}) > 1
        for (history, doc), pieces in zip(found, tokens, strict=True):
            say_blocks(question_report(history, doc, tokens=pieces, whole=whole, name_series=several))
        kinds = dict.fromkeys(LEGEND if history.text is None else TEXT_LEGEND for history, _ in found)
        say_blocks(list(map(Note, kinds)))
    else:
        several = any(len(history.checkpoints) > 1 for history in histories)
        say(_("no such question") if several else ONE_CHECKPOINT)


def _find(
    results: ResultsFolder, histories: list[PickHistory], kind: Kind, count: int, doc_ids: tuple[int, ...]
) -> list[Doc]:
    """Return the docs of these ids, or the first `count` docs of a kind of each series."""
    if doc_ids:
        wanted = [(history, doc) for history in histories for doc in doc_ids if doc in history.doc_id]
        _refuse_unknown(histories, set(doc_ids) - {doc for _, doc in wanted})
    else:
        wanted = [
            chosen for own in _by_series(histories).values() for chosen in find_docs(own, kind).part(0, count)
        ]
    docs = read_questions(results, wanted)
    return [(history, doc) for (history, _), doc in zip(wanted, docs, strict=True)]


def _refuse_unknown(histories: list[PickHistory], lacking: set[int]) -> None:
    if lacking:
        first = histories[0]
        raise ResultsError(
            Phrase("none of these tasks has a doc {names}", names=", ".join(map(str, sorted(lacking)))),
            Phrase(
                "{task} has docs {min} to {max}",
                task=first.task,
                min=first.doc_id.min(),
                max=first.doc_id.max(),
            ),
        )


def _tokens(results: Path, history: PickHistory, doc: Question) -> list[str]:
    """Return the prompt of a doc as the model's tokens."""
    from milepost.run.plans.prompt_tokens import prompt_tokens

    return prompt_tokens(results, history.series, doc)


def _show_stats(histories: list[PickHistory], as_json: bool) -> None:
    if as_json:
        say_json([stats_record(history, step_changes(history), totals(history)) for history in histories])
        return
    for series, own in _by_series(histories).items():
        whole = join_histories(own)
        if whole is not None:
            say_blocks(stats_report(whole, step_changes(whole), totals(whole)))
        if len(own) > 1:
            say_blocks(stats_by_task(series, [(history, totals(history)) for history in own]))


def _by_series(histories: list[PickHistory]) -> dict[str, list[PickHistory]]:
    return grouped(histories, lambda history: history.series)
