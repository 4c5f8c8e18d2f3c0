"""Pickles are read without running their code."""

from __future__ import annotations

import argparse
import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from milepost.sources.safe_unpickler import ForbiddenName, SafeUnpickler, StandIn


def load(value: Any, known: dict[str, Any] | None = None, allowed: tuple[str, ...] = ()) -> Any:
    return SafeUnpickler(io.BytesIO(pickle.dumps(value)), known or {}, allowed).load()


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_function_is_refused_by_its_name_and_not_called(tmp_path: Path) -> None:
    with pytest.raises(ForbiddenName, match=r"posix\.mkdir|nt\.mkdir"):
        load(Harmful(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_an_allowed_class_becomes_a_stand_in_with_its_attributes() -> None:
    found = load(argparse.Namespace(layers=4), allowed=("argparse.Namespace",))
    assert isinstance(found, StandIn)
    assert (found.qualified_name, found.attributes) == ("argparse.Namespace", {"layers": 4})


def test_a_known_name_becomes_its_object() -> None:
    assert load(Path, known={f"{Path.__module__}.Path": "path"}) == "path"


def test_each_unpickler_has_stand_in_classes_of_its_own() -> None:
    first, second = (type(load(argparse.Namespace(), allowed=("argparse.Namespace",))) for _ in range(2))
    assert first is not second
