"""`milepost questions`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milepost.cli.selection import patterns, results_argument
from milepost.errors import ResultsError

if TYPE_CHECKING:
    from milepost.analysis.questions import Kind
    from milepost.store.pick_history import Asked, PickHistory


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
    from milepost.store.pick_history import read_histories

    histories = read_histories(results, task, series)
    if stats:
        _print_stats(histories, say_json)
        return
    found = list(_chosen(results, histories, kind or "all", count, doc_id))
    if doc_id and not any(asked for _, asked in found):
        raise ResultsError(
            f"none of these tasks has a doc {', '.join(map(str, doc_id))}",
            f"{histories[0].task} has docs {histories[0].doc_id.min()} to {histories[0].doc_id.max()}",
        )
    pieces = _pieces(results, found) if as_tokens else {}
    if say_json:
        _print_json(found, pieces)
    else:
        _print(found, pieces, whole)


def _chosen(
    results: Path, histories: list[PickHistory], kind: Kind, count: int, doc_ids: tuple[int, ...]
) -> Iterator[tuple[PickHistory, list[Asked]]]:
    """The docs asked for, or of each series the first `count` of a kind, task by task."""
    from milepost.analysis.questions import chosen
    from milepost.store.pick_history import read_asked

    room = dict.fromkeys((history.series for history in histories), count)
    for history in histories:
        if doc_ids:
            there = set(history.doc_id.tolist())
            wanted = [doc for doc in doc_ids if doc in there]
        elif room[history.series]:
            wanted = history.doc_id[chosen(history, kind)[: room[history.series]]].tolist()
            room[history.series] -= len(wanted)
        else:
            continue
        if wanted:
            yield history, read_asked(results, history, wanted)


def _pieces(
    results: Path, found: list[tuple[PickHistory, list[Asked]]]
) -> dict[tuple[str, str, int], list[str]]:
    from milepost.run.prompt_tokens import prompt_tokens

    return {
        (history.series, history.task, asked.doc_id): prompt_tokens(results, history.series, asked)
        for history, docs in found
        for asked in docs
    }


def _print_stats(histories: list[PickHistory], say_json: bool) -> None:
    from milepost.analysis.questions import changes, totals
    from milepost.report import questions as report

    counted = [(one, changes(one), totals(one)) for one in histories]
    if say_json:
        click.echo(report.dumps([report.stats_as_json(*one) for one in counted]))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for one in counted:
        for part in report.stats(*one):
            console.print(part, crop=False)


def _print_json(
    found: list[tuple[PickHistory, list[Asked]]], pieces: dict[tuple[str, str, int], list[str]]
) -> None:
    from milepost.report import questions as report

    records: list[dict[str, Any]] = [
        record for history, asked in found for record in report.as_json(history, asked)
    ]
    for record in records:
        tokens = pieces.get((record["series"], record["task"], record["doc_id"]))
        if tokens is not None:
            record["tokens"] = tokens
    click.echo(report.dumps(records))


def _print(
    found: list[tuple[PickHistory, list[Asked]]],
    pieces: dict[tuple[str, str, int], list[str]],
    whole: bool,
) -> None:
    from rich.console import Console
    from rich.text import Text

    from milepost.report import questions as report
    from milepost.report.text import printable

    console = Console(highlight=False)
    for history, docs in found:
        for asked in docs:
            for part in report.question(history, asked, whole=whole):
                console.print(part, soft_wrap=True)
            tokens = pieces.get((history.series, history.task, asked.doc_id))
            if tokens is not None:
                console.print(
                    Text(f"{len(tokens)} tokens: " + "|".join(map(printable, tokens))), soft_wrap=True
                )
                console.print()
    if any(docs for _, docs in found):
        console.print(Text(report.LEGEND, style="dim"), soft_wrap=True)
    else:
        console.print("no such question")
