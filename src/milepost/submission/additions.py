"""Files that a user adds to a submission: YAML tasks and patches. They are checked and never executed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from milepost.errors import ResultsError
from milepost.tasks.lm_eval.yaml_file import parse_yaml
from milepost.text.language import Phrase

MOST_BYTES = 1_000_000
"""A task file or a patch is text that someone will read."""

CHANGED_FILE = re.compile(r"^(?:---|\+\+\+) (?:[ab]/)?([^\t\n]+)", re.MULTILINE)


def read_additions(task_files: Sequence[Path], patches: Sequence[Path]) -> dict[str, bytes]:
    """Place in the submission to content: `tasks/<name>` and `patches/<name>`.

    Raises:
        ResultsError: a file cannot be read, is too large, is not what it should be, or two have one name.
        TaskError: YAML that does not parse (file and line named).
    """
    found: dict[str, bytes] = {}
    for folder, paths in (("tasks", task_files), ("patches", patches)):
        for path in paths:
            place = f"{folder}/{path.name}"
            if place in found:
                raise ResultsError(
                    Phrase("two files to be added are called {name}", name=path.name), "rename one of them"
                )
            found[place] = _task_file(path) if folder == "tasks" else _patch(path)
    return found


def _task_file(path: Path) -> bytes:
    data = _text(path)
    parse_yaml(path)
    return data


def _patch(path: Path) -> bytes:
    data = _text(path)
    changed = [name for name in CHANGED_FILE.findall(data.decode()) if name != "/dev/null"]
    if not changed:
        raise ResultsError(
            Phrase("{path} is not a patch: it changes no file", path=path), "make it with `git diff`"
        )
    for name in changed:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ResultsError(
                Phrase("{path} changes {name}, outside of the tree it is for", path=path, name=name),
                "make it with `git diff`",
            )
    return data


def _text(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ResultsError(
                Phrase(
                    "{path} has {st_size:,} bytes, more than {MOST_BYTES:,}",
                    path=path,
                    st_size=path.stat().st_size,
                    MOST_BYTES=MOST_BYTES,
                ),
                "add text only, no data",
            )
        data = path.read_bytes()
        data.decode("utf-8")
    except OSError as error:
        raise ResultsError(
            Phrase("cannot read {path}: {strerror}", path=path, strerror=error.strerror),
            "name a file that is there",
        ) from error
    except UnicodeDecodeError as error:
        raise ResultsError(
            Phrase("{path} is not text in UTF-8", path=path), "add task YAML or a patch"
        ) from error
    return data
