"""The options of the commands that run models, made from the fields of `EvalConfig`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any

import click

from milepost.cli.options import Command
from milepost.options import Option
from milepost.run.config import OPTIONS


def evaluation_options(command: str, *, leaving_out: Collection[str] = ()) -> Callable[[Command], Command]:
    """Decorate a command with the options of `EvalConfig` that it has, and with those of every long run."""

    def decorate(function: Command) -> Command:
        for add in reversed([*_evaluation(command, leaving_out), *_OF_LONG_RUNS]):
            function = add(function)
        return function

    return decorate


def _evaluation(command: str, leaving_out: Collection[str]) -> list[Callable[[Command], Command]]:
    return [
        _click_option(described, declared.default)
        for name, (declared, described) in OPTIONS.items()
        if command in described.commands and name not in leaving_out and name != "verbosity"
    ]


def _click_option(described: Option, default: Any) -> Callable[[Command], Command]:
    flag = described.flag
    names = [f"{flag}/--no-{flag[2:]}" if described.negative else flag]
    given: dict[str, Any] = {"help": described.help}
    if described.short:
        names.insert(0, described.short)
    if described.metavar:
        given["metavar"] = described.metavar
    if described.shows_default:
        given |= {"show_default": True, "default": described.command_default or described.dump(default)}
    if described.multiple:
        given["multiple"] = True
    if described.flag_value:
        given |= {"is_flag": False, "flag_value": described.flag_value}
    if described.is_flag:
        given["is_flag"] = True
    else:
        given["type"] = click.Path() if described.is_path else described.kind
    return click.option(*names, described.name, **given)


_OF_LONG_RUNS: list[Callable[..., Any]] = [
    click.option(
        "-v", "verbose", count=True, help="Say what is done and how long it takes; -vv for everything."
    ),
    click.option("--verbosity", help=OPTIONS["verbosity"][1].help),
    click.option("--yes", is_flag=True, help="Begin a long run without asking; only a terminal is asked."),
    click.option(
        "--detach", "apart", is_flag=True, help="Go on without this terminal; a log says how it goes."
    ),
]


def log_level(verbosity: str | None, verbose: int) -> str:
    """Return the log level that `--verbosity`, or else the number of `-v`, asks for."""
    return verbosity or ("WARNING", "INFO", "DEBUG")[min(verbose, 2)]


def may_ask(yes: bool) -> bool:
    """Return whether a person at a terminal can be asked before a long run, and did not pass `--yes`."""
    return not yes and sys.stdin.isatty() and sys.stderr.isatty()
