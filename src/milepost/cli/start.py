"""`milepost start`: a short menu for people who prefer one."""

from __future__ import annotations

import sys

import click

from milepost.cli.output import say_json
from milepost.errors import MilepostError
from milepost.text.language import _


@click.command("start")
@click.option("--json", "as_json", is_flag=True, help="Ask, run nothing, and print the commands as JSON.")
def command(as_json: bool) -> None:
    """Choose checkpoints and tasks from a menu; try it, run it, look at it.

    Each choice prints the command line it stands for before it runs, so the next time needs no menu. Ctrl-D
    ends it, Ctrl-C as well, also in the middle of a run: the same command goes on from there.
    """
    from milepost.cli.menu import Dialogue, EndOfInput, actions, choose_job, command_line, work

    dialogue = Dialogue()
    try:
        if as_json:
            offered = actions(choose_job(dialogue))
            say_json({name: command_line(words) for name, (_, words) in offered.items()})
        else:
            dialogue.say(
                _("Milepost measures every checkpoint of a training run. Enter takes what is in [ ].")
            )
            work(dialogue, call)
    except EndOfInput:
        if as_json or (dialogue.n_answers == 0 and not sys.stdin.isatty()):
            raise MilepostError(
                "`milepost start` asks questions, and there is nobody to answer them",
                "milepost run SOURCE --suite early --quick -o RESULTS needs no answers",
            ) from None


def call(words: list[str]) -> object:
    """Run a command in this process; its errors are raised."""
    from milepost.cli.main import milepost

    return milepost(words, standalone_mode=False)
