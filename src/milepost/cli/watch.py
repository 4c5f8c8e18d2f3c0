"""`milepost watch`: evaluate checkpoints of a training run while it goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from milepost.buckets import as_path
from milepost.cli import run
from milepost.cli.evaluation_options import evaluation_options
from milepost.cli.interrupts import stop_in_good_order
from milepost.cli.output import say_json, tell
from milepost.run.display.signs_of_life import importing
from milepost.text.language import _

AT_PLATEAU = 3
"""The exit status of a watch that `--stop-when` ends."""


@click.command("watch")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--every", metavar="TIME", help="Look at least this often: 30m, 90s; local changes are seen at once."
)
@click.option("--until", type=int, metavar="STEP", help="End after this step; default: the last of --steps.")
@click.option(
    "--order",
    type=click.Choice(["oldest", "newest"]),
    default="oldest",
    show_default=True,
    help="The order of several complete checkpoints.",
)
@click.option(
    "--settle",
    metavar="TIME",
    default="5s",
    show_default=True,
    help="Wait until nothing in a checkpoint has changed for so long.",
)
@click.option(
    "--exec",
    "execute",
    metavar="CMD",
    help="Run a shell command after each checkpoint; MILEPOST_CHECKPOINT, _STEP, _SERIES, _SOURCE and "
    "_RESULTS name it.",
)
@click.option(
    "--stop-when",
    type=click.Choice(["plateau"]),
    help="plateau: end with status 3 once no curve shows an improvement any more.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the curves again after each checkpoint: .png, .svg or .html.",
)
@evaluation_options("watch")
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON instead of a table.")
def command(sources: tuple[str, ...], **options: Any) -> int:
    """Evaluate the checkpoints of a training run as they become complete.

    SOURCE is a folder, which need not exist yet, a Hub address or a folder in a bucket (s3://, gs://). A
    checkpoint is read once its files are complete and nobody writes to them any more. A watch that is stopped
    and started again goes on; several watches on one results folder share the work.

    \b
    milepost watch runs/my-500m -t mmlu,boolq,hellaswag --steps 2000:200000:2000 -o results
    milepost watch runs/my-500m -t arc_easy --stop-when plateau --exec 'mail -s $MILEPOST_STEP me < /dev/null'
    """
    as_json = options.pop("as_json")
    if options.pop("apart"):
        return run.go_on_detached(as_path(options["output_path"]), as_json)
    with stop_in_good_order():
        return _watch(sources, options, as_json)


def _watch(sources: tuple[str, ...], options: dict[str, Any], as_json: bool) -> int:
    with importing():
        from milepost.api.watch import watch
    from milepost.watching import EndReason, parse_duration

    every, settle = options.pop("every"), options.pop("settle")
    watched = watch(
        sources,
        every_s=None if every is None else parse_duration(every),
        settle_s=parse_duration(settle),
        say=_tell_with_time,
        **run.as_arguments(options),
    )
    if watched.results is not None:
        run.print_results(watched.results, as_json)
    elif as_json:
        say_json([])
    if watched.ended is EndReason.PLATEAU:
        tell(_("no curve shows an improvement any more (--stop-when plateau)"))
        return AT_PLATEAU
    return 1 if watched.results is not None and watched.results.failures else 0


def _tell_with_time(line: str) -> None:
    tell(f"{time.strftime('%H:%M:%S')} {line}")
