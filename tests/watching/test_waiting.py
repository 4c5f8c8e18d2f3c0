"""Being told of changes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from milepost.watching.waiting import Waiter, is_on_a_network_disk

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:44 / /scratch rw,relatime shared:2 - lustre 10.0.0.1@tcp:/scratch rw
31 22 0:45 / /home/some\\040one rw shared:3 - nfs4 server:/home rw
32 30 0:46 / /scratch/fast rw shared:4 - xfs /dev/nvme0 rw
"""


@pytest.mark.parametrize(
    ("folder", "network"),
    [
        ("/data/run", False),
        ("/scratch/run", True),
        ("/scratch/fast/run", False),
        ("/home/some one/run", True),
        ("/scratchy", False),
    ],
)
def test_network_disks_are_told_by_their_mount(folder: str, network: bool) -> None:
    assert is_on_a_network_disk(Path(folder), MOUNTS) == network


def test_a_new_file_ends_the_waiting(tmp_path: Path) -> None:
    with Waiter([tmp_path]) as waiter:
        waiter.listen()
        woken = threading.Event()

        def wait() -> None:
            waiter.wait(60)
            woken.set()

        threading.Thread(target=wait, daemon=True).start()
        for number in range(100):  # the listener may need a moment to begin
            (tmp_path / f"step-{number}").mkdir()
            if woken.wait(0.2):
                break
        assert woken.is_set()


def test_without_a_change_the_time_runs_out(tmp_path: Path) -> None:
    with Waiter([tmp_path]) as waiter:
        start = time.monotonic()
        waiter.wait(0.5)
        assert time.monotonic() - start >= 0.45


def test_a_folder_that_is_not_there_yet_is_looked_for(tmp_path: Path) -> None:
    late = tmp_path / "late"
    with Waiter([late]) as waiter:
        waiter.listen()
        untold = waiter.longest_s
        late.mkdir()
        waiter.listen()
        assert waiter.longest_s > untold
