"""Engines and generators: all forward passes, from token sequences to log-likelihoods or texts.

The functions that make them import torch, so they are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from milepost.engine.engine import Engine, EngineName
from milepost.engine.generate.generator import Generator
from milepost.engine.optimizations import Optimizations

if TYPE_CHECKING:
    from milepost.engine.build import build_engine
    from milepost.engine.generate.build import build_generator

__all__ = ["Engine", "EngineName", "Generator", "Optimizations", "build_engine", "build_generator"]

_LATER = {"build_engine": "milepost.engine.build", "build_generator": "milepost.engine.generate.build"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
