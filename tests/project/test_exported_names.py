"""The library is what `milepost.__all__` lists, and every change to it is a decision."""

from __future__ import annotations

import subprocess
import sys

import milepost

PUBLIC = {
    "Checkpoint",
    "CheckpointError",
    "EvalConfig",
    "MilepostError",
    "Results",
    "ResultsError",
    "Series",
    "SourceError",
    "Steps",
    "TaskError",
    "TokenizerError",
    "__version__",
    "compare",
    "discover",
    "evaluate",
    "measure_perplexity",
    "open_results",
    "save_plan",
    "watch",
}


def test_the_library_exports_these_names_and_no_others() -> None:
    assert set(milepost.__all__) == PUBLIC


def test_every_public_name_can_be_imported_and_says_what_it_is() -> None:
    for name in PUBLIC - {"__version__"}:
        assert getattr(milepost, name).__doc__, name


def test_a_public_function_stays_a_function_once_its_room_is_imported() -> None:
    """A module of the package would take the place of a function with its name."""
    code = "import milepost.watching, milepost.cli.watch, milepost; print(callable(milepost.watch))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(milepost, "utils")


def test_importing_the_library_imports_no_model_library() -> None:
    code = "import milepost, sys; print([m for m in ('torch', 'lm_eval', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
