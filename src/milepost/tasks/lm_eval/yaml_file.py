"""Read a task file as plain data, without running code in it. All YAML of users is read here.

A file is read once, within limits, by the rules of lm_eval's own loader (same bytes, same YAML version, links
resolved). `!function` tags become `CodeTag`s, so that the checks see each of them, however it is spelled.
lm_eval gets the mapping that was checked and does not open the file itself.
Source: lm_eval/tasks/_yaml_loader.py.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import TaskError
from milepost.text.language import Phrase
from milepost.text.messages import first_line

MOST_BYTES = 10_000_000
MOST_NODES = 500_000
"""Values in a file with aliases expanded; the largest file of lm_eval has some thousands."""
MOST_CHARACTERS = 50_000_000
"""Text in a file with aliases expanded."""
MOST_DEPTH = 200
MOST_DIGITS = 300

BAD_YAML = Phrase("correct this file, or move it out of the --include-path folder")


@dataclass(frozen=True, slots=True)
class CodeTag:
    """`!function module.name`: Python code that a task file asks for."""

    name: str
    folder: Path
    """The folder of the file with the tag; the module is searched there first."""
    file: Path
    line: int

    def __deepcopy__(self, memo: dict[int, Any]) -> CodeTag:
        return self

    def __str__(self) -> str:
        return str(self.folder / self.name)


@dataclass(frozen=True, slots=True)
class TaskFile:
    """The content of one file, without its includes."""

    path: Path
    """The path with all links resolved, as in lm_eval."""
    sha256: str
    content: dict[str, Any]
    code: tuple[CodeTag, ...]


def parse_yaml(path: Path) -> dict[str, Any]:
    """Return a task file as a mapping, with `!function` tags as text; no code runs.

    Raises:
        TaskError: see `read_task_file`.
    """
    config: dict[str, Any] = _with_code_as_text(read_task_file(path).content)
    return config


def read_task_file(path: Path) -> TaskFile:
    """Read and parse one task file.

    Raises:
        TaskError: the file cannot be read, is not a regular file, is too large, or does not parse; the
            message names the file and, if known, the line.
    """
    try:
        resolved = Path(os.path.realpath(path))
        data = read_regular_file(resolved, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TaskError(
            Phrase("{path}: cannot be read: {reason}", path=path, reason=reason), BAD_YAML
        ) from error
    return _parse(str(path), resolved, data)


def read_regular_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file; refuses pipes, devices and files larger than `most_bytes`.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not a regular file, or too large.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("it is not a regular file")
    with open(handle, "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"it has more than {most_bytes // 1_000_000} MB")
    return data


@functools.lru_cache(maxsize=1024)
def _parse(shown: str, path: Path, data: bytes) -> TaskFile:
    """Parse a task file; the result depends only on the bytes, so the cache is never out of date."""
    import yaml

    try:
        _check_size(data, shown)
        loader = _loader(path)(data)
        try:
            content = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TaskError(
            Phrase(
                "{shown}{line}: {problem}", shown=shown, line=line, problem=error.problem or "not valid YAML"
            ),
            BAD_YAML,
        ) from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        reason = first_line(error)
        raise TaskError(
            Phrase("{shown}: not valid YAML ({reason})", shown=shown, reason=reason), BAD_YAML
        ) from error
    if not isinstance(content, dict):
        raise TaskError(
            Phrase("{shown}, line 1: a task file is a mapping of keys to values", shown=shown), BAD_YAML
        )
    return TaskFile(path, hashlib.sha256(data).hexdigest(), content, tuple(loader.code))


def _loader(path: Path) -> type[Any]:
    import yaml

    fastest: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

    class Loader(fastest):
        def __init__(self, stream: bytes) -> None:
            super().__init__(stream)
            self.code: list[CodeTag] = []

    def code_tag(loader: Loader, node: Any) -> CodeTag:
        tag = CodeTag(str(loader.construct_scalar(node)), path.parent, path, node.start_mark.line + 1)
        loader.code.append(tag)
        return tag

    def number(loader: Loader, node: Any) -> Any:
        # PyYAML takes quadratic time for numbers of base 60 (1:1:1...).
        if len(node.value) > MOST_DIGITS:
            raise yaml.constructor.ConstructorError(
                problem="the number is too long", problem_mark=node.start_mark
            )
        kind = node.tag.rpartition(":")[2]
        return getattr(loader, f"construct_yaml_{kind}")(node)

    Loader.add_constructor("!function", code_tag)
    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", number)
    return Loader


def _check_size(data: bytes, shown: str) -> None:
    """Refuse YAML that would grow beyond bounds when it is built: aliases of aliases, endless nesting.

    Reads the events one by one, without recursion and without building values.
    """
    import yaml

    sizes: dict[str, tuple[int, int]] = {}
    open_nodes: list[tuple[str | None, int, int]] = []
    nodes = characters = 0
    for event in yaml.parse(data, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, *_ in open_nodes):
                raise TaskError(
                    Phrase(
                        "{shown}, line {line}: a value holds itself",
                        shown=shown,
                        line=event.start_mark.line + 1,
                    ),
                    BAD_YAML,
                )
            more = sizes.get(event.anchor, (1, 0))
            nodes, characters = nodes + more[0], characters + more[1]
        elif isinstance(event, yaml.ScalarEvent):
            nodes, characters = nodes + 1, characters + len(event.value)
            if event.anchor:
                sizes[event.anchor] = (1, len(event.value))
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, nodes, characters))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, nodes_before, characters_before = open_nodes.pop()
            if anchor:
                sizes[anchor] = (nodes - nodes_before, characters - characters_before)
        if len(open_nodes) > MOST_DEPTH:
            raise TaskError(
                Phrase(
                    "{shown}, line {line}: nested more than {most_depth} deep",
                    shown=shown,
                    line=event.start_mark.line + 1,
                    most_depth=MOST_DEPTH,
                ),
                BAD_YAML,
            )
        if nodes > MOST_NODES or characters > MOST_CHARACTERS:
            raise TaskError(
                Phrase(
                    "{shown}: with its aliases (*name) written out it has more than "
                    "{most_nodes:,} values or {most_characters:,} characters",
                    shown=shown,
                    most_nodes=MOST_NODES,
                    most_characters=MOST_CHARACTERS,
                ),
                BAD_YAML,
            )


def _with_code_as_text(value: Any) -> Any:
    if isinstance(value, CodeTag):
        return value.name
    if isinstance(value, dict):
        return {key: _with_code_as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_code_as_text(item) for item in value]
    return value
