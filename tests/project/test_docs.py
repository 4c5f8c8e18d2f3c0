"""The documents say what is so: links lead somewhere, commands exist, both languages show the same."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from milepost.cli.main import COMMANDS
from milepost.version import __version__
from tests.cli.called import milepost

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
READMES = [REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_command_line_page_is_what_help_says() -> None:
    spec = importlib.util.spec_from_file_location("generate_cli", REPOSITORY / "docs" / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    generate_cli = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate_cli)
    written = (REPOSITORY / "docs" / "cli.md").read_text("utf-8")
    assert written == generate_cli.page(), "run: python docs/generate_cli.py"


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"lm-eval"}))  # that one is lm_eval's own
def test_every_command_says_what_it_does_and_has_json(name: str) -> None:
    called = milepost(name, "--help")
    assert called.status == 0, called.err
    assert "--json" in called.out


def test_both_readmes_show_the_same_commands_and_figures() -> None:
    english, chinese = (page.read_text("utf-8") for page in READMES)
    shown = [[line.split("  #")[0].rstrip() for line in _shown(text)] for text in (english, chinese)]
    assert shown[0] == shown[1]


def _shown(text: str) -> list[str]:
    """The lines of all code blocks but the tree, whose remarks are translated."""
    blocks = [block for block in CODE.findall(text) if "src/milepost/" not in block]
    return "\n".join(blocks).splitlines()


def test_both_readmes_name_each_room() -> None:
    rooms = {
        path.name for path in (REPOSITORY / "src" / "milepost").iterdir() if (path / "__init__.py").exists()
    }
    for page in READMES:
        assert [room for room in sorted(rooms) if f"{room}/" not in page.read_text("utf-8")] == []


def test_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}]" in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
