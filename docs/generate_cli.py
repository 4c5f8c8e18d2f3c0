"""Writes docs/cli.md from what `milepost COMMAND --help` says. A test compares the two."""

from __future__ import annotations

from pathlib import Path

from milepost.cli.main import COMMANDS, milepost
from milepost.text.language import ENGLISH, speaking

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100


def help_text(name: str | None = None) -> str:
    """What `milepost --help`, or `milepost NAME --help`, prints at a fixed width."""
    with speaking(ENGLISH):
        return _help_text(name)


def _help_text(name: str | None) -> str:
    wide = {"terminal_width": WIDTH, "max_content_width": WIDTH, "color": False}
    root = milepost.make_context("milepost", [], resilient_parsing=True, **wide)
    if name is None:
        return milepost.get_help(root)
    command = milepost.get_command(root, name)
    assert command is not None, name
    return command.get_help(command.make_context(name, [], parent=root, resilient_parsing=True))


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        "# Command line\n",
        "Written by `python docs/generate_cli.py` from `--help`.\n",
        _block(help_text()),
    ]
    for name in COMMANDS:
        parts += [f"## milepost {name}\n", _block(help_text(name))]
    return "\n".join(parts)


def _block(text: str) -> str:
    return f"```\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
