"""`milepost metrics`: the metrics of scores that were stored without them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from milepost.cli.evaluation_options import log_level
from milepost.cli.interrupts import stop_in_good_order
from milepost.cli.selection import results_argument
from milepost.safe_text import printable


@click.command("metrics")
@results_argument
@click.option(
    "--include-path",
    type=click.Path(path_type=Path),
    help="Folder with YAML tasks of your own, if they are elsewhere than when the scores were made.",
)
@click.option("--allow-task-code", is_flag=True, help="Let YAML of --include-path run Python (`!function`).")
@click.option(
    "-v", "--verbose", count=True, help="Say what is done and how long it takes; -vv for everything."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON instead of a table.")
def command(
    results: Path, include_path: Path | None, allow_task_code: bool, verbose: int, as_json: bool
) -> int:
    """Compute the metrics of RESULTS that are lacking, from its scores; print the table.

    Where lm_eval is not installed, or with --scores-only, `milepost run` stores scores alone. This needs
    lm_eval and the tasks' data, and neither weights nor a tokenizer.
    """
    from milepost.api.metrics import compute_metrics
    from milepost.api.results import Results

    with stop_in_good_order():
        report = compute_metrics(
            results,
            include_path=include_path,
            allow_task_code=allow_task_code,
            verbosity=log_level(None, verbose),
            say=lambda line: click.echo(printable(line), err=True),
        )
    records = Results.open(results).to_records()
    if as_json:
        click.echo(json.dumps(records, ensure_ascii=False, indent=1))
    elif records:
        from rich.console import Console

        Console(highlight=False).print(Results.open(results).table(), crop=False)
    if report.unscored:
        click.echo(
            f"{len(report.unscored)} checkpoints lack scores: the command that began them scores the rest",
            err=True,
        )
    if not (report.computed or report.lacking or report.unscored):
        click.echo("every checkpoint with scores has its metrics", err=True)
    return 1 if report.lacking else 0
