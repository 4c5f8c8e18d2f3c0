"""Set how long OpenMP's threads wait for the next operation before they sleep."""

from __future__ import annotations

import os

SPIN_COUNT = 3000
"""Rounds of waiting, about 0.1 ms in all."""


def let_threads_spin_briefly() -> None:
    """Let OpenMP's threads wait for about 0.1 ms before they sleep, unless its variables say otherwise.

    libgomp, the OpenMP of torch on Linux, lets them spin for 3 to 15 ms. On cores that others use as well,
    matrix products then take up to ten times as long. To wake a thread takes as long as an operation of a
    small model, so that two threads that never spin are slower than one (docs/log.md, 28 November 2026).

    It must be called before torch is imported.
    """
    if os.environ.get("OMP_WAIT_POLICY"):
        return
    if not os.environ.get("GOMP_SPINCOUNT"):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
    # For other OpenMPs, whose shortest wait is none; libgomp goes by its own variable where both are set.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
