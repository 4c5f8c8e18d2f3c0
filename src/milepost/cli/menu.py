"""What `milepost start` asks, and the command line that each answer stands for.

Questions go to standard error, so that standard output is that of the commands; answers are lines of standard
input. It needs nothing of a terminal but lines.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from milepost.cli.main import COMMANDS
from milepost.errors import MilepostError
from milepost.safe_text import printable

DEFAULT_RESULTS = "milepost-results"
OWN = "names of your own choice"


class EndOfInput(Exception):
    """Nobody answers any more: Ctrl-D, or the end of a file."""


class Dialogue:
    """Lines to a person and from them."""

    def __init__(self) -> None:
        self.n_answers = 0

    def say(self, line: str = "") -> None:
        click.echo(printable(line), err=True)

    def ask(self, question: str, default: str | None = None) -> str:
        """The answer, stripped; `default` for an empty one, or asked again where there is none.

        Raises:
            EndOfInput: there is none.
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
        """One of the keys of `choices`, by its number or as it is spelt. Raises as `ask`."""
        keys = list(choices)
        width = max(map(len, keys))
        for number, (key, what) in enumerate(choices.items(), 1):
            self.say(f"  {number}  {key:<{width}}  {what}".rstrip())
        while True:
            answer = self.ask(question, str(keys.index(default) + 1))
            if answer in choices:
                return answer
            if answer.isdecimal() and 1 <= int(answer) <= len(keys):
                return keys[int(answer) - 1]
            self.say(f"a number from 1 to {len(keys)}, please")


@dataclass(slots=True)
class Job:
    """What has been chosen so far."""

    source: str = ""
    asked: list[str] = field(default_factory=list)
    """The words that say which tasks: `--suite early`, or `--tasks arc_easy`."""
    results: str = DEFAULT_RESULTS

    def run(self, *more: str) -> list[str]:
        return ["run", self.source, *self.asked, *more, "--output-path", self.results]


def choose_job(dialogue: Dialogue) -> Job:
    """Ask for source, tasks and results folder; what cannot be used is told and asked again.

    Raises:
        EndOfInput: nobody answers.
    """
    job = Job()
    job.source = _source(dialogue)
    job.asked = _tasks(dialogue)
    dialogue.say()
    job.results = dialogue.ask("Results folder, new or of an earlier run", DEFAULT_RESULTS)
    return job


def _source(dialogue: Dialogue) -> str:
    from milepost.sources import discover_all

    while True:
        dialogue.say()
        source = dialogue.ask("Checkpoints: a folder, or hf://org/name@step-*")
        try:
            found = discover_all([source])
        except MilepostError as error:
            _tell(dialogue, error)
            continue
        for series in found:
            names = [checkpoint.name for checkpoint in series.checkpoints]
            broken = sum(checkpoint.problem is not None for checkpoint in series.checkpoints)
            incomplete = f", {broken} of them not complete" if broken else ""
            dialogue.say(f"{series.name}: {len(names)} checkpoints, {names[0]} to {names[-1]}{incomplete}")
        return source


def _tasks(dialogue: Dialogue) -> list[str]:
    from milepost.tasks.suites import load_suite, suite_names

    suites = {name: load_suite(name) for name in suite_names()}
    choices = {name: f"{len(suite.tasks)} tasks. {suite.about}" for name, suite in suites.items()}
    dialogue.say()
    dialogue.say("Tasks:")
    chosen = dialogue.choose("Which", {**choices, "others": OWN}, "early")
    return ["--suite", chosen] if chosen in suites else ["--tasks", _own_tasks(dialogue)]


def _own_tasks(dialogue: Dialogue) -> str:
    from milepost.tasks.registry import check_settings
    from milepost.tasks.settings import TaskSettings

    while True:
        names = dialogue.ask("lm_eval task, group or tag names, with commas between them", "arc_easy,piqa")
        try:
            check_settings(
                TaskSettings(names=tuple(name.strip() for name in names.split(",") if name.strip()))
            )
        except MilepostError as error:
            _tell(dialogue, error)
            continue
        return names


def actions(job: Job) -> dict[str, tuple[str, list[str]]]:
    """What can be done with a job: by name, in a few words, and as the words after `milepost`."""
    curve = str(Path(job.results).with_name(f"{Path(job.results).name}.png"))
    every = {
        "quick": (
            "first, middle and last checkpoint, 100 docs per task; says how long it all takes",
            job.run("--quick"),
        ),
        "run": ("every checkpoint, every doc; what is stored is not computed again", job.run()),
        "show": (COMMANDS["show"], ["show", job.results]),
        "plot": (COMMANDS["plot"], ["plot", job.results, "--output", curve]),
        "questions": (COMMANDS["questions"], ["questions", job.results]),
    }
    return every


def command_line(words: Sequence[str]) -> str:
    """The command line, quoted for a shell."""
    return shlex.join(["milepost", *words])


def work(dialogue: Dialogue, call: Callable[[list[str]], object]) -> None:
    """Ask until the person ends it, running what is chosen through `call`.

    Raises:
        EndOfInput: nobody answers.
    """
    job = choose_job(dialogue)
    default = "quick"
    while True:
        offered = actions(job)
        dialogue.say()
        dialogue.say("What now?")
        choices = {name: what for name, (what, _) in offered.items()}
        chosen = dialogue.choose("Choice", {**choices, "again": "choose anew", "end": "leave"}, default)
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
    dialogue.say(error.message)
    if error.hint:
        dialogue.say(f"({error.hint})")
