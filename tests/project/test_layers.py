"""Rooms import one way, and reading results needs neither torch nor lm_eval. See docs/structure.md."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.analysis.made import mmlu, write_results

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "milepost"

GROUND = {"types", "text", "errors", "network", "files", "options", "version", "buckets", "cores"}
STAGES = {"sources", "weights", "tasks", "plan", "engine", "store"}
MAY_IMPORT = {
    "text": set(),
    "errors": {"text"},
    "types": {"text"},
    "network": {"errors", "text"},
    "files": {"errors", "text"},
    "options": {"errors", "text"},
    "version": set(),
    "cores": set(),
    "buckets": {"errors", "text"},
    "sources": GROUND,
    "weights": GROUND | {"sources"},
    "tasks": GROUND,
    "plan": GROUND,
    "engine": GROUND | {"plan"},
    "store": GROUND,
    "doctor": GROUND | {"sources", "engine"},
    "results": GROUND | {"store", "analysis"},
    "run": GROUND | STAGES | {"analysis", "results"},
    "watching": GROUND | {"sources", "store", "run"},
    "analysis": GROUND,
    "report": GROUND | {"store", "analysis", "results"},
    "web": GROUND | {"store", "analysis", "results", "report"},
    "recorders": GROUND | {"store", "analysis"},
    "submission": GROUND | {"store", "analysis", "results", "report", "tasks"},
    "lm_eval_backend": GROUND | {"engine", "run", "tasks", "weights"},
    "api": GROUND | STAGES | {"run", "watching", "analysis", "results", "report", "recorders"},
    "demo": GROUND | {"api", "analysis", "report", "web"},
    "cli": GROUND
    | STAGES
    | {
        "doctor",
        "run",
        "watching",
        "analysis",
        "results",
        "report",
        "web",
        "recorders",
        "api",
        "demo",
    }
    | {"lm_eval_backend", "submission"},
}
"""Room to the rooms it may import; whoever adds a room says here where it stands."""

ENTRY_POINTS = {"__init__", "__main__"}
HEAVY = {"torch", "lm_eval", "transformers", "helm"}
MAY_IMPORT_HEAVY = {
    "weights": {"torch", "transformers"},
    "tasks": {"lm_eval", "helm"},
    "engine": {"torch", "transformers"},
    "doctor": {"torch"},
    "run": {"torch"},
    "demo": {"torch", "transformers"},
    "lm_eval_backend": {"lm_eval", "torch"},
}
"""Rooms not named here import none of the heavy libraries, not even inside a function."""

KNOW_A_SOURCE = {
    "lm_eval_backend.py": "Milepost's engine as a model of lm_eval",
    "submission/additions.py": "a submission's task files are YAML of lm_eval",
    "api/helm_files.py": "HELM's files are written by HELM's code",
}
"""Files outside of `tasks` that may import a source, with the reason."""

LM_EVALS_OWN_COMMAND = "cli/lm_eval.py"


class Import(NamedTuple):
    room: str
    module: str
    where: str
    only_for_types: bool


@cache
def _imports() -> tuple[Import, ...]:
    return tuple(_read_imports())


def _read_imports() -> Iterator[Import]:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text("utf-8"))
        for_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            for module in _modules(node):
                where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
                yield Import(room, module, where, node in for_types)


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "milepost":
        return [f"milepost.{alias.name}" for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def test_every_room_has_its_place() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert rooms - ENTRY_POINTS == set(MAY_IMPORT)


def test_rooms_import_one_way() -> None:
    wrong = [
        f"{where}: {room} imports {module}"
        for room, module, where, _ in _imports()
        if room not in ENTRY_POINTS
        and module.startswith("milepost.")
        and module.split(".")[1] not in MAY_IMPORT[room] | {room}
    ]
    assert wrong == []


def test_the_places_of_the_rooms_form_no_cycle() -> None:
    placed: set[str] = set()
    while placed < set(MAY_IMPORT):
        free = {room for room, below in MAY_IMPORT.items() if room not in placed and below <= placed}
        assert free, f"a cycle among {sorted(set(MAY_IMPORT) - placed)}"
        placed |= free


def test_the_folders_of_a_run_follow_one_another() -> None:
    """A run's folders in the order of its work; none imports from a later one."""
    folders = ["display", "series", "plans", "scoring", "metrics", "executors"]
    assert {path.parent.name for path in (PACKAGE / "run").glob("*/__init__.py")} == set(folders)
    wrong = [
        f"{where} imports {module}"
        for _, module, where, _ in _imports()
        for n, folder in enumerate(folders)
        if where.startswith(f"run/{folder}/")
        and any(module.startswith(f"milepost.run.{later}") for later in folders[n + 1 :])
    ]
    assert wrong == []


def test_modules_are_imported_by_their_full_names() -> None:
    assert [where for _, module, where, _ in _imports() if module.startswith(".")] == []


@pytest.mark.parametrize("library", sorted(HEAVY))
def test_heavy_libraries_are_imported_only_where_they_belong(library: str) -> None:
    wrong = [
        f"{where}: {room} imports {module}"
        for room, module, where, only_for_types in _imports()
        if module.split(".")[0] == library
        and not only_for_types
        and not where.startswith(LM_EVALS_OWN_COMMAND)
        and library not in MAY_IMPORT_HEAVY.get(room, ())
    ]
    assert wrong == []


def test_a_question_source_is_known_only_to_itself() -> None:
    """Other files use `tasks.question_source` and `tasks.registry`; each source is a folder of `tasks`."""
    folders = [path.parent.name for path in (PACKAGE / "tasks").glob("*/source.py")]
    wrong = [
        f"{where} imports {module}"
        for _, module, where, _ in _imports()
        for source in folders
        if module.startswith(f"milepost.tasks.{source}")
        and not where.startswith(f"tasks/{source}/")
        and where.rpartition(":")[0] not in KNOW_A_SOURCE
    ]
    assert folders
    assert wrong == []


def test_the_plan_knows_neither_tensors_nor_data_sets() -> None:
    """Only numpy, its file format and JSON, so that a plan can be made and read where no model runs."""
    allowed = {"numpy", "pyarrow", "milepost", *sys.stdlib_module_names}
    strangers = {
        module.split(".")[0] for room, module, _, for_types in _imports() if room == "plan" and not for_types
    } - allowed
    assert strangers == set()


def test_analysis_neither_reads_nor_writes_files() -> None:
    io = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "exists", "glob"}
    wrong = [
        f"{path.name}:{node.lineno}"
        for path in (PACKAGE / "analysis").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in io
    ]
    assert wrong == []


def _heavy_after(*arguments: str) -> set[str]:
    """Run `milepost ARGUMENTS` in a process of its own; return which heavy libraries it has imported."""
    code = (
        "import json, sys\n"
        "from milepost.cli.main import milepost\n"
        "milepost(sys.argv[1:], standalone_mode=False)\n"
        f"print(json.dumps([name for name in {sorted(HEAVY)} if name in sys.modules]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_help_imports_nothing_heavy() -> None:
    assert _heavy_after("--help") == set()


def test_list_imports_nothing_heavy(tiny_run: Path) -> None:
    assert _heavy_after("list", str(tiny_run)) == set()


def test_show_imports_nothing_heavy(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", mmlu([1000, 2000], subjects=4))
    assert _heavy_after("show", str(results)) == set()
