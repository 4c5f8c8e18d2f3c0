"""Any content of a task folder is read, or refused with a line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost.errors import TaskError
from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.yaml_file import parse_yaml

WORDS = (
    "task: t",
    "group: g",
    "tag:",
    "- a",
    "include: x.yaml",
    "!function a.b",
    "*x",
    "&x",
    "<<: *x",
    "1: 2",
)
MARKS = ("{", "[", ": ", "\n", "\t", "? ", "| ", "'", '"', "\0", "é", "---", "%YAML")
CODE = "!!python/object/apply:os.system ['true']"
PIECES = st.lists(st.sampled_from([*WORDS, *MARKS, CODE]), max_size=8)
SHARED_FOLDER = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(read: Callable[[Path], Any], path: Path) -> str | None:
    """Return the error message; None if `path` is read."""
    try:
        read(path)
    except TaskError as error:
        return error.message
    return None


@SHARED_FOLDER
@given(text=PIECES.map("\n".join) | PIECES.map("".join) | st.text())
def test_any_text_is_a_mapping_or_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, "utf-8", errors="replace")
    message = refusal(parse_yaml, path)
    assert "own.yaml" in message if message is not None else isinstance(parse_yaml(path), dict)


@SHARED_FOLDER
@given(content=st.binary(max_size=60))
def test_any_bytes_beside_own_tasks_are_indexed_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.yaml").write_bytes(content)
    message = refusal(load_catalog, tmp_path)
    assert "own.yaml" in message if message is not None else "arc_easy" in load_catalog(tmp_path)


@pytest.mark.parametrize("depth", [50, 2000])
def test_deep_nesting_is_read_or_refused(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("a: " + "[" * depth + "]" * depth, "utf-8")
    message = refusal(parse_yaml, path)
    assert "own.yaml" in message if message is not None else set(parse_yaml(path)) == {"a"}
