"""`milepost questions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from milepost.cli.selection import patterns, results_argument
from milepost.errors import ResultsError

if TYPE_CHECKING:
    from milepost.analysis.questions import Kind
    from milepost.result_types import PickHistory
    from milepost.store import ResultsFolder
    from milepost.store.pick_history import Question

    Shown = tuple[PickHistory, Question]
    Pieces = list[list[str] | None]


@click.command()
@results_argument
@click.option("-t", "--task", multiple=True, callback=patterns, help="Tasks or groups, by name or pattern.")
@click.option("--series", multiple=True, callback=patterns, help="Training runs, by name or pattern.")
@click.option("-n", "count", type=click.IntRange(min=1), default=5, show_default=True, help="How many.")
@click.option("--doc-id", type=int, multiple=True, help="These docs: their places in the evaluation split.")
@click.option("--learned", "kind", flag_value="learned", help="Wrong at first, right at last.")
@click.option("--forgotten", "kind", flag_value="forgotten", help="Once right, wrong at last.")
@click.option("--always-wrong", "kind", flag_value="always-wrong", help="Wrong at every checkpoint.")
@click.option("--flips", "kind", flag_value="flips", help="Those that changed most often.")
@click.option("--stats", is_flag=True, help="How many were learned and forgotten at each step.")
@click.option("--full", "whole", is_flag=True, help="The whole prompt, few-shot examples and all.")
@click.option("--tokens", "as_tokens", is_flag=True, help="The first choice's prompt as the model's tokens.")
@click.option("--json", "say_json", is_flag=True, help="As JSON.")
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
    say_json: bool,
) -> None:
    """Show single questions of RESULTS, and what each checkpoint picked.

    \b
    milepost questions results --task mmlu_anatomy --learned -n 3
    """
    from milepost.store import ResultsIndex
    from milepost.store.pick_history import read_histories

    index = ResultsIndex.open(results)
    histories = read_histories(index, task, series)
    if stats:
        _print_stats(histories, say_json)
        return
    found = _found(index.folder, histories, kind or "all", count, doc_id)
    pieces: Pieces = _pieces(results, found) if as_tokens else [None] * len(found)
    if say_json:
        _print_json(found, pieces)
    elif found:
        _print(found, pieces, whole)
    else:
        click.echo(_nothing(histories))


def _found(
    results: ResultsFolder, histories: list[PickHistory], kind: Kind, count: int, doc_ids: tuple[int, ...]
) -> list[Shown]:
    """The docs asked for, or of each series the first `count` of a kind."""
    from milepost.analysis.questions import select_docs
    from milepost.store.pick_history import read_questions

    if doc_ids:
        wanted = [(history, doc) for history in histories for doc in doc_ids if doc in history.doc_id]
        _refuse_unknown(histories, set(doc_ids) - {doc for _, doc in wanted})
    else:
        wanted = [one for own in _by_series(histories).values() for one in select_docs(own, kind, count)]
    asked = read_questions(results, wanted)
    return [(history, one) for (history, _), one in zip(wanted, asked, strict=True)]


def _refuse_unknown(histories: list[PickHistory], lacking: set[int]) -> None:
    if lacking:
        first = histories[0]
        raise ResultsError(
            f"none of these tasks has a doc {', '.join(map(str, sorted(lacking)))}",
            f"{first.task} has docs {first.doc_id.min()} to {first.doc_id.max()}",
        )


def _pieces(results: Path, found: list[Shown]) -> Pieces:
    """The tokens of each prompt."""
    from milepost.run.prompt_tokens import prompt_tokens

    return [prompt_tokens(results, history.series, asked) for history, asked in found]


def _print_stats(histories: list[PickHistory], say_json: bool) -> None:
    from milepost.analysis.questions import join_histories, step_changes, totals
    from milepost.report import questions as report

    if say_json:
        click.echo(
            report.dumps([report.stats_as_json(one, step_changes(one), totals(one)) for one in histories])
        )
        return
    from rich.console import Console

    console = Console(highlight=False)
    for series, own in _by_series(histories).items():
        whole = join_histories(own)
        parts = [] if whole is None else [*report.stats(whole, step_changes(whole), totals(whole))]
        if len(own) > 1:
            parts += report.stats_by_task(series, [(one, totals(one)) for one in own])
        for part in parts:
            console.print(part, crop=False)


def _by_series(histories: list[PickHistory]) -> dict[str, list[PickHistory]]:
    found: dict[str, list[PickHistory]] = {}
    for history in histories:
        found.setdefault(history.series, []).append(history)
    return found


def _print_json(found: list[Shown], pieces: Pieces) -> None:
    from milepost.report import questions as report

    records = [
        report.as_json(*one) | ({} if tokens is None else {"tokens": tokens})
        for one, tokens in zip(found, pieces, strict=True)
    ]
    click.echo(report.dumps(records))


def _print(found: list[Shown], pieces: Pieces, whole: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from milepost.report import questions as report

    console = Console(highlight=False)
    several = len({history.series for history, _ in found}) > 1
    for (history, asked), tokens in zip(found, pieces, strict=True):
        for part in report.question(history, asked, tokens=tokens, whole=whole, name_series=several):
            console.print(part, soft_wrap=True)
    console.print(Text(report.LEGEND, style="dim"), soft_wrap=True)


def _nothing(histories: list[PickHistory]) -> str:
    from milepost.report.questions import ONE_CHECKPOINT

    several = any(len(history.checkpoints) > 1 for history in histories)
    return "no such question" if several else ONE_CHECKPOINT
