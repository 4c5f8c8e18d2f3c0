"""`milepost metrics`: the metrics of scores that were stored without them."""

from __future__ import annotations

from pathlib import Path

import click

from milepost.cli.evaluation_options import log_level
from milepost.cli.interrupts import stop_in_good_order
from milepost.cli.output import say_blocks, say_json, tell
from milepost.cli.selection import results_argument
from milepost.text.language import _


@click.command("metrics")
@results_argument
@click.option(
    "--include-path",
    type=click.Path(path_type=Path),
    help="Folder with YAML tasks of your own, if it has moved since the scores were made.",
)
@click.option("--allow-task-code", is_flag=True, help="Let YAML of --include-path run Python (`!function`).")
@click.option(
    "-v", "--verbose", count=True, help="Say what is done and how long it takes; -vv for everything."
)
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON instead of a table.")
def command(
    results: Path, include_path: Path | None, allow_task_code: bool, verbose: int, as_json: bool
) -> int:
    """Compute the metrics that RESULTS lacks from its scores, and print the table.

    Where lm_eval is not installed, or with --scores-only, `milepost run` stores scores alone. This
    command needs lm_eval and the tasks' data, but neither weights nor a tokenizer.
    """
    from milepost.api.metrics import compute_metrics
    from milepost.api.results import Results

    with stop_in_good_order():
        report = compute_metrics(
            results,
            include_path=include_path,
            allow_task_code=allow_task_code,
            verbosity=log_level(None, verbose),
            say=tell,
        )
    records = Results.open(results).to_records()
    if as_json:
        say_json(records)
    elif records:
        say_blocks(Results.open(results).table().blocks)
    if report.unscored:
        tell(
            _(
                "{n_unscored} checkpoints lack scores: repeat the command that began them",
                n_unscored=len(report.unscored),
            )
        )
    if not (report.computed or report.lacking or report.unscored):
        tell(_("every checkpoint with scores has its metrics"))
    return 1 if report.lacking else 0
