"""The questions of `milepost start`, and the command line that each answer stands for.

Questions go to standard error, so that standard output is that of the commands; answers are lines of standard
input, so it works in any terminal.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from milepost.cli.main import COMMANDS
from milepost.errors import MilepostError
from milepost.report.terminal import broken
from milepost.text.language import Phrase, _, ngettext, translated
from milepost.text.safe_text import printable

DEFAULT_RESULTS = "milepost-results"
MOST_NARROW = 20
"""Characters that a description has at least, however narrow the window is."""
OWN = Phrase("names of your own choice")


class EndOfInput(Exception):
    """The input has ended: Ctrl-D, or the end of a file."""


class Dialogue:
    """Lines to a person and from them."""

    def __init__(self) -> None:
        self.n_answers = 0

    def say(self, line: str = "") -> None:
        click.echo(printable(line), err=True)

    def ask(self, question: str, default: str | None = None) -> str:
        """Return the answer, stripped; `default` for an empty answer; without a default, ask again.

        Raises:
            EndOfInput: the input has ended.
        """
        while True:
            click.echo(f"{question}{f' [{default}]' if default else ''}: ", err=True, nl=False)
            line = sys.stdin.readline()
            if not line:
                click.echo(err=True)
                raise EndOfInput
            self.n_answers += 1
            if answer := line.strip() or default:
                return answer

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """Return a key of `choices`, which the user gives by number or by name. Raises as `ask`."""
        keys = list(choices)
        width = max(map(len, keys))
        room = shutil.get_terminal_size().columns
        for number, (key, what) in enumerate(choices.items(), 1):
            head = f"  {number}  {key:<{width}}  "
            first, *others = broken(what, max(room - len(head), MOST_NARROW))
            self.say(f"{head}{first}".rstrip())
            for line in others:
                self.say(" " * len(head) + line)
        while True:
            answer = self.ask(question, str(keys.index(default) + 1))
            if answer in choices:
                return answer
            if answer.isdecimal() and 1 <= int(answer) <= len(keys):
                return keys[int(answer) - 1]
            self.say(_("a number from 1 to {n}, please", n=len(keys)))


@dataclass(slots=True)
class Job:
    """The choices so far."""

    source: str = ""
    task_options: list[str] = field(default_factory=list)
    """`--suite early`, or `--tasks arc_easy`."""
    results: str = DEFAULT_RESULTS

    def run(self, *more: str) -> list[str]:
        return ["run", self.source, *self.task_options, *more, "--output-path", self.results]


def choose_job(dialogue: Dialogue) -> Job:
    """Ask for source, tasks and results folder, again where an answer cannot be used.

    Raises:
        EndOfInput: the input has ended.
    """
    job = Job()
    job.source = _source(dialogue)
    job.task_options = _tasks(dialogue)
    dialogue.say()
    job.results = dialogue.ask(_("Results folder, new or of an earlier run"), DEFAULT_RESULTS)
    return job


def _source(dialogue: Dialogue) -> str:
    from milepost.sources import discover_all

    while True:
        dialogue.say()
        source = dialogue.ask(_("Checkpoints: a folder, or hf://org/name@step-*"))
        try:
            found = discover_all([source])
        except MilepostError as error:
            _tell(dialogue, error)
            continue
        for series in found:
            names = [checkpoint.name for checkpoint in series.checkpoints]
            broken = sum(checkpoint.problem is not None for checkpoint in series.checkpoints)
            incomplete = _(", {n} of them not complete", n=broken) if broken else ""
            found_here = ngettext(
                "{name}: {n} checkpoint, {first}",
                "{name}: {n} checkpoints, {first} to {last}",
                len(names),
                name=series.name,
                first=names[0],
                last=names[-1],
            )
            dialogue.say(found_here + incomplete)
        return source


def _tasks(dialogue: Dialogue) -> list[str]:
    from milepost.tasks.suites import load_suite, suite_names

    suites = {name: load_suite(name) for name in suite_names()}
    choices = {
        name: ngettext("{n} task.", "{n} tasks.", len(suite.tasks)) + " " + translated(suite.about)
        for name, suite in suites.items()
    }
    dialogue.say()
    dialogue.say(_("Tasks:"))
    chosen = dialogue.choose(_("Which"), {**choices, "others": translated(OWN)}, "early")
    return ["--suite", chosen] if chosen in suites else ["--tasks", _own_tasks(dialogue)]


def _own_tasks(dialogue: Dialogue) -> str:
    from milepost.tasks.registry import check_settings
    from milepost.tasks.settings import TaskSettings

    while True:
        names = dialogue.ask(_("lm_eval task, group or tag names, with commas between them"), "arc_easy,piqa")
        try:
            check_settings(
                TaskSettings(names=tuple(name.strip() for name in names.split(",") if name.strip()))
            )
        except MilepostError as error:
            _tell(dialogue, error)
            continue
        return names


def actions(job: Job) -> dict[str, tuple[str, list[str]]]:
    """Return what can be done with a job: name to a description and the words after `milepost`."""
    curve = str(Path(job.results).with_name(f"{Path(job.results).name}.png"))
    every = {
        "quick": (
            _("first, middle and last checkpoint, 100 docs per task; says how long it all takes"),
            job.run("--quick"),
        ),
        "run": (_("every checkpoint, every doc; what is stored is not computed again"), job.run()),
        "show": (translated(COMMANDS["show"]), ["show", job.results]),
        "plot": (translated(COMMANDS["plot"]), ["plot", job.results, "--output", curve]),
        "questions": (translated(COMMANDS["questions"]), ["questions", job.results]),
    }
    return every


def command_line(words: Sequence[str]) -> str:
    """Return the command line, quoted for a shell."""
    return shlex.join(["milepost", *words])


def work(dialogue: Dialogue, call: Callable[[list[str]], object]) -> None:
    """Ask what to do next and do it through `call`, until the user chooses to end.

    Raises:
        EndOfInput: the input has ended.
    """
    job = choose_job(dialogue)
    default = "quick"
    while True:
        offered = actions(job)
        dialogue.say()
        dialogue.say(_("What now?"))
        choices = {name: what for name, (what, words) in offered.items()}
        others = {"again": _("choose anew"), "end": _("leave")}
        chosen = dialogue.choose(_("Choice"), {**choices, **others}, default)
        if chosen == "end":
            return
        if chosen == "again":
            job, default = choose_job(dialogue), "quick"
            continue
        dialogue.say()
        dialogue.say(f"$ {command_line(offered[chosen][1])}")
        try:
            call(offered[chosen][1])
        except MilepostError as error:
            _tell(dialogue, error)
        except click.ClickException as error:
            dialogue.say(error.format_message())
        else:
            default = {"quick": "run", "run": "show", "show": "plot", "plot": "questions"}.get(chosen, "end")


def _tell(dialogue: Dialogue, error: MilepostError) -> None:
    message, hint = error.for_reader()
    dialogue.say(message)
    if hint:
        dialogue.say(f"({hint})")
