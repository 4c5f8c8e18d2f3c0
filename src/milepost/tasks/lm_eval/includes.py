"""A task file with its includes merged in, by lm_eval's rules.

Source: lm_eval/tasks/_yaml_loader.py (`load_yaml`): a later include wins over an earlier one, the file's
    own keys over both, and an include is found beside the file that names it, links resolved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import TaskError
from milepost.tasks.lm_eval.local_data import PACKAGED, with_files_found
from milepost.tasks.lm_eval.yaml_file import BAD_YAML, CodeTag, TaskFile, read_task_file
from milepost.text.language import Phrase

MOST_INCLUDES = 100


@dataclass(frozen=True, slots=True)
class Config:
    """A task file with its includes merged in, as lm_eval's `load_yaml` merges them."""

    path: Path
    """The path in the catalog; links are not resolved."""
    content: Mapping[str, Any]
    """Shared with other readers of the same file; do not change it."""
    files: tuple[TaskFile, ...]

    @property
    def code(self) -> Iterator[CodeTag]:
        """Every `!function` of these files, also those that another file's key replaces."""
        for file in self.files:
            yield from file.code


def read_config(path: Path) -> Config:
    """Read a task file and everything it includes, each file once.

    Raises:
        TaskError: see `yaml_file.read_task_file`; an include that is not a valid path, or a cycle of
            includes, as in lm_eval.
    """
    files: list[TaskFile] = []
    return Config(path, _merged(path, files), tuple(files))


def _merged(path: Path, files: list[TaskFile]) -> dict[str, Any]:
    file = read_task_file(path)
    if any(file.path == other.path for other in files):
        raise TaskError(
            Phrase("{path}: includes {path2} twice", path=files[0].path, path2=file.path),
            "remove one of the two `include`s",
        )
    if len(files) >= MOST_INCLUDES:
        raise TaskError(
            Phrase(
                "{path}: includes more than {MOST_INCLUDES} files",
                path=files[0].path,
                MOST_INCLUDES=MOST_INCLUDES,
            ),
            BAD_YAML,
        )
    files.append(file)
    own = dict(file.content)
    merged: dict[str, Any] = {}
    if "include" in own:
        included = own.pop("include")
        for name in included if isinstance(included, list) else [included]:
            if not isinstance(name, str) or not name:
                raise TaskError(
                    Phrase("{path}: `include` is {name!r}, which is not a file name", path=path, name=name),
                    BAD_YAML,
                )
            target = file.path.parent / name
            if not os.path.lexists(target):
                raise TaskError(
                    Phrase("{path}: includes {name}, which does not exist", path=path, name=name), BAD_YAML
                )
            inherited = _merged(target, files)
            inherited.pop("task_list", None)
            merged.update(inherited)
    if "dataset_kwargs" in own and {**merged, **own}.get("dataset_path") in PACKAGED:
        own["dataset_kwargs"] = with_files_found(own["dataset_kwargs"], file.path)
    merged.update(own)
    return merged
