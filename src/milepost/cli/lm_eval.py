"""`milepost lm-eval`."""

from __future__ import annotations

import importlib
import sys

import click


@click.command(
    "lm-eval",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """lm_eval's own command line, with the model name `milepost` registered.

    \b
    milepost lm-eval run --model milepost --model_args pretrained=gpt2,dtype=float32 --tasks arc_easy
    """
    from lm_eval.__main__ import cli_evaluate

    importlib.import_module("milepost.lm_eval_backend")  # registers the model

    sys.argv = ["milepost lm-eval", *arguments]
    cli_evaluate()
