"""`milepost ppl`: one text in every convention of perplexity, and why they differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from milepost.cli import run
from milepost.cli.evaluation_options import evaluation_options
from milepost.cli.interrupts import stop_in_good_order
from milepost.safe_text import printable

if TYPE_CHECKING:
    from milepost.api.perplexity import Perplexities


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
    help="Also measure what lies between the conventions; about twice the work.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curves: .png, .svg or .html.")
@click.option(
    "--engine", default="auto", show_default=True, help="auto, packed, padded or reference: same scores."
)
@evaluation_options("ppl", leaving_out={"engine"})
@click.option("--json", "as_json", is_flag=True, help="Print figures, gaps and factors as JSON.")
def command(sources: tuple[str, ...], **options: Any) -> int:
    """Score one text under every convention of perplexity, and explain why the figures differ.

    \b
    fixed windows     disjoint windows of SEQLEN tokens, the end dropped: GPTQ, SparseGPT, Wanda
    strided windows   overlapping windows, STRIDE new tokens each: the guide of transformers
    lm_eval           per word, per byte and in bits per byte, document by document: its task wikitext

    Each gap is told as factors that multiply to it, each measured by changing one thing. Several SOURCEs are
    set side by side. Of a training run every checkpoint is measured and the last explained (--json: all).

    \b
    milepost ppl runs/my-500m --text wikitext2 --seqlen 2048 -o results
    milepost ppl original pruned --no-explain
    """
    if options.pop("apart"):
        return run.go_on_detached(Path(options["output_path"]), options["as_json"])
    with stop_in_good_order():
        return _measure(sources, **options)


def _measure(sources: tuple[str, ...], *, plot: Path | None, as_json: bool, **options: Any) -> int:
    from milepost.api.perplexity import measure_perplexity

    if plot is not None:
        from milepost.report.files import CHART_SUFFIXES, check_target

        check_target(plot, CHART_SUFFIXES)
    measured = measure_perplexity(sources, **run.as_arguments(options))
    if as_json:
        click.echo(_as_json(measured))
    else:
        _print(measured)
    for name, reason in measured.results.failures.items():
        click.echo(f"failed: {printable(name)}: {printable(reason)}", err=True)
    if plot is not None and measured.found:
        _draw(measured, plot)
    click.echo(f"results in {measured.results.path}", err=True)
    return 1 if measured.results.failures else 0


def _as_json(measured: Perplexities) -> str:
    from milepost.report.perplexity import as_records

    content = {"models": as_records(measured.found), "notes": list(measured.notes)}
    return json.dumps(content, ensure_ascii=False, indent=1)


def _print(measured: Perplexities) -> None:
    from rich.console import Console

    from milepost.report.perplexity import view

    if measured.found:
        Console(highlight=False).print(view(measured.found), crop=False)
    for note in measured.notes:
        click.echo(f"note: {printable(note)}")


def _draw(measured: Perplexities, path: Path) -> None:
    """The reported conventions, not what lies between them."""
    tasks = list(dict.fromkeys(one.task for one in measured.found[0].conventions))
    measured.results.plot(path, tasks=tasks)
    click.echo(f"wrote {path}", err=True)
