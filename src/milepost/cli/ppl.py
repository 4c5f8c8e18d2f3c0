"""`milepost ppl`: one text in every convention of perplexity, and why they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from milepost.buckets import as_path
from milepost.cli import run
from milepost.cli.evaluation_options import evaluation_options
from milepost.cli.interrupts import stop_in_good_order
from milepost.cli.output import say, say_blocks, say_json, tell, tell_failure
from milepost.report.files import CHART_SUFFIXES, check_target
from milepost.run.display.signs_of_life import importing
from milepost.text.language import _


@click.command("ppl")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--text",
    default="wikitext2",
    show_default=True,
    metavar="wikitext2|c4|FILE",
    help="The text: wikitext-2's test split, what the pruning papers take of C4, or a file in UTF-8.",
)
@click.option(
    "--seqlen", type=int, help="Tokens per window; default: 2048, or the model's context if shorter."
)
@click.option(
    "--stride", type=int, help="New tokens per sliding window; default: 512, or half a window if shorter."
)
@click.option(
    "--explain/--no-explain",
    default=True,
    show_default=True,
    help="Also measure the steps between the conventions; about twice the work.",
)
@click.option("--short", is_flag=True, help="Print a sentence and the table, without the explanation.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curves: .png, .svg or .html.")
@click.option(
    "--engine", default="auto", show_default=True, help="auto, packed, padded or reference: same scores."
)
@evaluation_options("ppl", leaving_out={"engine"})
@click.option("--json", "as_json", is_flag=True, help="Print perplexities, gaps and factors as JSON.")
def command(sources: tuple[str, ...], **options: Any) -> int:
    """Score one text under every convention of perplexity, and explain why the perplexities differ.

    \b
    fixed windows     disjoint windows of SEQLEN tokens, the end dropped: GPTQ, SparseGPT, Wanda
    strided windows   overlapping windows, STRIDE new tokens each: the guide of transformers
    lm_eval           per word, per byte and in bits per byte, document by document: its task wikitext

    Each gap is explained as factors that multiply to it, each measured by changing one thing. Several SOURCEs
    are set side by side. Every checkpoint of a training run is measured, the last explained (--json: all).

    \b
    milepost ppl runs/my-500m --text wikitext2 --seqlen 2048 -o results
    milepost ppl original pruned --no-explain
    """
    if options.pop("apart"):
        return run.go_on_detached(as_path(options["output_path"]), options["as_json"])
    with stop_in_good_order():
        return _measure(sources, **options)


def _measure(
    sources: tuple[str, ...], *, plot: Path | None, short: bool, as_json: bool, **options: Any
) -> int:
    with importing():
        from milepost.api.perplexity import measure_perplexity
        from milepost.report.perplexity import perplexity_records, perplexity_report

    if plot is not None:
        check_target(plot, CHART_SUFFIXES)
    measured = measure_perplexity(sources, **run.as_arguments(options))
    if as_json:
        say_json({"models": perplexity_records(measured.found), "notes": list(measured.notes)})
    else:
        if measured.found:
            say_blocks(perplexity_report(measured.found, short=short))
        for note in measured.notes:
            say(_("note: {note}", note=note))
    for name, reason in measured.results.failures.items():
        tell_failure(name, reason)
    if plot is not None and measured.found:
        # The conventions that are reported, not the steps between them.
        tasks = list(dict.fromkeys(convention.task for convention in measured.found[0].conventions))
        measured.results.plot(plot, tasks=tasks)
        tell(_("wrote {path}", path=plot))
    tell(_("results in {path}", path=measured.results.path))
    return 1 if measured.results.failures else 0
