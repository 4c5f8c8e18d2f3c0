"""OpenMP's threads spin briefly while they wait; what the user has set stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from milepost.cli.thread_waiting import SPIN_COUNT, let_threads_spin_briefly

VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    ("user_set", "found"),
    [
        ({}, (str(SPIN_COUNT), "PASSIVE")),
        ({"OMP_WAIT_POLICY": ""}, (str(SPIN_COUNT), "PASSIVE")),
        ({"GOMP_SPINCOUNT": "7"}, ("7", "PASSIVE")),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, (None, "ACTIVE")),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, (None, "PASSIVE")),
    ],
)
def test_what_the_user_has_set_stays(
    user_set: Mapping[str, str], found: tuple[str | None, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in user_set.items():
        monkeypatch.setenv(name, value)
    let_threads_spin_briefly()
    assert tuple(map(os.environ.get, VARIABLES)) == found


def test_the_command_line_sets_it_before_torch_is_imported() -> None:
    program = """
import os, sys
from milepost.cli.main import prepare_process
prepare_process()
assert "torch" not in sys.modules
print(os.environ["GOMP_SPINCOUNT"])
"""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(SPIN_COUNT)
