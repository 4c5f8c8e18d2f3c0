"""A machine that only scores: code for a child process that takes the other libraries away from it."""

from __future__ import annotations

NOT_NEEDED = (
    "accelerate", "altair", "click", "datasets", "duckdb", "evaluate", "lm_eval", "orjson", "pandas", "peft",
    "polars", "rich", "scipy", "sklearn", "vl_convert", "watchfiles",
)  # fmt: skip
"""Libraries that a machine which only scores may lack, and sklearn, which needs scipy."""

WITHOUT = f"""
import importlib.machinery, importlib.metadata, sys
version = importlib.metadata.version

class Others(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {NOT_NEEDED!r} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Others

def installed(name):
    if name in (*{NOT_NEEDED!r}, "milepost"):
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = installed
"""
"""Code that makes them missing, and Milepost not installed: it then runs from its source tree."""
