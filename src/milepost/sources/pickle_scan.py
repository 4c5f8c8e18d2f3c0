"""Scan pickles beside the weights, such as optimizer states, for names that would run code when loaded.

Milepost does not load them. Their opcodes are read but not executed, so that users of a foreign checkpoint
get a warning; it does not prove that other files are harmless. Format: Python's `pickletools`; torch wraps it
in a zip archive.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from milepost.sources.regular_files import open_regular
from milepost.text.messages import shown

_ENDS = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_MAX_PICKLE_BYTES = 1 << 23
_MODULES = frozenset(
    {"_io", "asyncio", "code", "commands", "ctypes", "importlib", "io", "multiprocessing", "nt", "operator",
     "os", "pdb", "pickle", "posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys", "webbrowser"}
)  # fmt: skip
_FUNCTIONS = frozenset({"__import__", "breakpoint", "compile", "eval", "exec", "getattr", "open", "setattr"})
_BUILTINS = ("builtins", "__builtin__")


def unread_pickles(folder: Path, weight_files: Collection[str]) -> Iterator[str]:
    """Yield a warning for each file of the folder, except the weights, that would run code."""
    for path in sorted(folder.iterdir()):
        if path.name.endswith(_ENDS) and path.name not in weight_files and path.is_file():
            for name in _names_in(path):
                if _runs_code(name):
                    yield f"{shown(path.name)} would run code when loaded ({shown(name)}); it is not loaded"
                    break


def _names_in(path: Path) -> Iterator[str]:
    """Yield the full names in a file's pickle, as far as it can be read."""
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(_pickle_in(path)):
            if opcode.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
            elif isinstance(argument, str):
                strings = [*strings[-1:], argument]
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile):
        return  # not a pickle, or a broken one


def _pickle_in(path: Path) -> bytes:
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return file.read(_MAX_PICKLE_BYTES)
        with zipfile.ZipFile(file) as archive:
            name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            if name is None:
                return b""
            with archive.open(name) as member:
                return member.read(_MAX_PICKLE_BYTES)


def _runs_code(name: str) -> bool:
    parts = name.split(".")
    if parts[0] in _BUILTINS:
        return parts[-1] in _FUNCTIONS
    return any(part in _MODULES for part in parts[:-1])
