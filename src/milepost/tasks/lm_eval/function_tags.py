"""Load the functions that `!function` tags of trusted task files name, from the current content of the files.

lm_eval takes a module for unchanged while its time stamp is, and Python a compiled file while time stamp (in
seconds) and size are, so both could use an old version of a file. Here the content decides.
Source: lm_eval/tasks/_yaml_loader.py (`_import_func_in_yml`, `_load_module_with_cache`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from milepost.errors import TaskError
from milepost.tasks.lm_eval.task_files import MOST_MODULE_BYTES
from milepost.tasks.lm_eval.yaml_file import CodeTag, read_regular_file
from milepost.text.language import Phrase

_CONTENT = "__milepost_sha256__"


def with_code(value: Any) -> Any:
    """Return a copy of a config's value with functions in place of the tags that name them.

    Raises:
        TaskError: there is no such module or function; the message names file and line.
    """
    if isinstance(value, CodeTag):
        return _function(value)
    if isinstance(value, dict):
        return {key: with_code(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_code(item) for item in value]
    return value


def _function(tag: CodeTag) -> Any:
    where = f"{tag.file}, line {tag.line}: !function {tag.name}"
    module_name, _, name = tag.name.rpartition(".")
    if not module_name:
        raise TaskError(
            Phrase("{where}: the module is missing", where=where),
            "write FILE.FUNCTION, as in `!function utils.process_docs`",
        )
    path = (tag.folder / f"{module_name.replace('.', '/')}.py").resolve()
    try:
        module = _load(path) if path.exists() else __import__(module_name, fromlist=[name])
    except ImportError as error:
        raise TaskError(
            Phrase("{where}: {error}", where=where, error=str(error)),
            Phrase("put {name} beside the task file", name=path.name),
        ) from error
    if not hasattr(module, name):
        raise TaskError(
            Phrase("{where}: {module_name} has no {name}", where=where, module_name=module_name, name=name),
            Phrase("define it in {path}", path=path),
        )
    return getattr(module, name)


class _FromContent(SourceFileLoader):
    """Compiles the given content and ignores `__pycache__`."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._content, self.path)


def _load(path: Path) -> ModuleType:
    name = str(path.with_suffix(""))
    try:
        content = read_regular_file(path, MOST_MODULE_BYTES)
    except (OSError, ValueError) as error:
        raise ImportError(f"{path} cannot be read: {error}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    known = sys.modules.get(name)
    if known is not None and getattr(known, _CONTENT, None) == sha256:
        return known
    loader = _FromContent(name, str(path), content)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    linecache.cache.pop(str(path), None)
    loader.exec_module(module)
    setattr(module, _CONTENT, sha256)
    sys.modules[name] = module
    return module
