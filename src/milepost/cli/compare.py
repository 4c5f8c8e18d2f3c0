"""`milepost compare`: models against an original, doc by doc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from milepost.buckets import in_bucket
from milepost.cli import run
from milepost.cli.evaluation_options import evaluation_options
from milepost.cli.interrupts import stop_in_good_order
from milepost.cli.options import output_option
from milepost.cli.output import say_blocks, say_json, tell, tell_failure
from milepost.run.display.signs_of_life import importing
from milepost.text.language import _


@click.command("compare")
@click.argument("original", metavar="ORIGINAL")
@click.argument("others", nargs=-1, required=True, metavar="PRUNED...")
@output_option(
    "--output-path",
    default=Path("milepost-comparison"),
    help="Folder for the report and for the results of models that are run.",
)
@click.option(
    "--perplexity/--no-perplexity",
    default=True,
    show_default=True,
    help="Score models that are run on wikitext-2 as well (tasks ppl_fixed, wikitext).",
)
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Lost docs to show, and gained docs.",
)
@evaluation_options("compare")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON instead of tables.")
def command(original: str, others: tuple[str, ...], output_path: Path, **options: Any) -> int:
    """Compare models with ORIGINAL, doc by doc, and write a report: what did pruning cost?

    Each model is a SOURCE, whose last checkpoint is run on the tasks, or RESULTS of an earlier run
    (RESULTS@CHECKPOINT for another checkpoint than the last). The report has sparsity, perplexities, every
    task with the interval and test of the paired difference, docs lost and gained, and a verdict per task.

    \b
    milepost compare runs/base runs/pruned -t squadv2,gsm8k,boolq,hellaswag -o comparison
    milepost compare hf://org/base runs/wanda runs/sparsegpt --suite pruning -o comparison
    milepost compare results@checkpoint-400 results@checkpoint-800 -o comparison
    """
    as_json = options.pop("as_json")
    if options.pop("apart"):
        return run.detached(
            output_path, as_json, is_new=not in_bucket(output_path) and not output_path.exists()
        )
    with stop_in_good_order():
        return _compare(original, others, output_path, options, as_json)


def _compare(
    original: str, others: tuple[str, ...], output_path: Path, options: dict[str, Any], as_json: bool
) -> int:
    with importing():
        from milepost.api.compare import compare

    compared = compare(original, others, output_path=output_path, say=tell, **run.as_arguments(options))
    if compared.study is not None and as_json:
        from milepost.report.comparison.records import comparison_record

        say_json(comparison_record(compared.study))
    elif compared.study is not None:
        from milepost.report.comparison.report import comparison_summary

        say_blocks(comparison_summary(compared.study))
    for path in compared.files:
        tell(_("wrote {path}", path=path))
    for role, reason in compared.failures.items():
        tell_failure(role, reason)
    return 1 if compared.failures else 0
