"""`milepost`: the command line. Each command has a file of its own, imported only when asked for."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
import traceback
from types import TracebackType

import click

from milepost.cli.empty_variables import unset_empty_variables
from milepost.cli.help_language import in_readers_language, prepare_click
from milepost.cli.interrupts import Stopped
from milepost.cli.options import spell_with_dashes
from milepost.cli.output import tell
from milepost.cli.thread_waiting import let_threads_spin_briefly
from milepost.errors import MilepostError
from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase, _, translated
from milepost.text.name_matching import did_you_mean
from milepost.text.safe_text import encode_safely
from milepost.version import __version__

COMMANDS = {
    "start": Phrase("choose what to do from a menu"),
    "run": Phrase("score every checkpoint of one or more training runs"),
    "watch": Phrase("evaluate checkpoints as a training run writes them"),
    "list": Phrase("the checkpoints of a source, and whether they are complete"),
    "ppl": Phrase("one text in every convention of perplexity, and why they differ"),
    "show": Phrase("the table of a results folder"),
    "metrics": Phrase("compute the metrics of scores that were stored without them"),
    "status": Phrase("processes at work on a results folder, and how far they are"),
    "verify": Phrase("check every record of a results folder against its checksum"),
    "serve": Phrase("a results folder as live pages in a browser"),
    "report": Phrase("a results folder as one file to send: HTML, PDF or Markdown"),
    "plot": Phrase("learning curves as PNG, SVG or HTML"),
    "questions": Phrase("single questions, and what each checkpoint picked"),
    "leaderboard": Phrase("several runs and published scores, ranked over all tasks"),
    "signal": Phrase("which tasks are worth watching at this scale, and by which metric"),
    "export": Phrase("results as lm_eval files, CSV or Parquet"),
    "convert": Phrase("checkpoints of any format as Hugging Face folders"),
    "pack": Phrase("check results and pack them into one file to hand in"),
    "lm-eval": Phrase("lm_eval's own command line, with the model `milepost` in it"),
    "compare": Phrase("models against an original, doc by doc: what pruning cost"),
    "doctor": Phrase("look for problems of this machine before a run"),
    "demo": Phrase("train a tiny model and evaluate it, offline, in a few minutes"),
}

GARBAGE_THRESHOLD = 100_000
"""Objects allocated before Python looks for cycles among them; its own default is 700."""


class Commands(click.Group):
    """The group of all commands; a command's module is imported when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"milepost.cli.{cmd_name.replace('-', '_')}").command
        return in_readers_language(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, translated(what)) for name, what in COMMANDS.items()])

    def get_help(self, ctx: click.Context) -> str:
        return click.Group.get_help(in_readers_language(self), ctx)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": spell_with_dashes},
)
@click.version_option(__version__, "-V", "--version", prog_name="milepost")
def milepost() -> None:
    """Measure every checkpoint of a language model.

    SOURCE is a local folder, a Hub address such as hf://org/name@step-*, or a folder of a bucket,
    s3://bucket/folder or gs://bucket/folder; RESULTS is an output folder, also in a bucket.
    """


def prepare_process() -> None:
    """Change settings of this process that libraries read when they are imported."""
    unset_empty_variables()
    let_threads_spin_briefly()
    # A progress bar for each data file says nothing.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    sys.excepthook = _show_without_secrets
    # A million objects, modules and plans, are made at the start and stay. Python would look through them for
    # cycles 1,800 times, a tenth of the start's time, and find next to none; and once more at the end, which
    # takes a second. What is frozen it does not look at. Exit functions run last in, first out.
    gc.set_threshold(GARBAGE_THRESHOLD, 50, 100)
    atexit.register(gc.freeze)


def _show_without_secrets(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a bug without passwords that an address in it may hold."""
    click.echo(without_secrets("".join(traceback.format_exception(kind, error, trace))), err=True, nl=False)


def main() -> None:
    """Run the command line; an error that a person can solve becomes a line, a hint and an exit code."""
    prepare_process()
    prepare_click()
    for stream in (sys.stdout, sys.stderr):
        encode_safely(stream)
    try:
        status = milepost(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except MilepostError as error:
        _tell_error(*error.for_reader())
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "milepost"
        hint = _("`{command} --help` lists what it takes", command=where)
        if isinstance(error, click.exceptions.NoSuchCommand):
            near = did_you_mean(error.command_name, COMMANDS)
            hint = translated(near or Phrase("`milepost --help` lists the commands"))
        _tell_error(error.format_message(), hint)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort) as interrupt:
        stopped = interrupt.__cause__  # click makes an Abort of every KeyboardInterrupt
        if isinstance(stopped, Stopped):
            tell(_("ended by {signal}", signal=stopped))
            sys.exit(stopped.exit_code)
        tell(_("interrupted"))
        sys.exit(130)


def _tell_error(message: str, hint: str | None) -> None:
    """Print an error and its hint, a line each; control characters in them are spelled out."""
    tell(_("error: {message}", message=message))
    if hint:
        tell(_("hint: {hint}", hint=hint))
