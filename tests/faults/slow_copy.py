"""A program that copies a run as Megatron-LM saves it."""

from __future__ import annotations

SLOW_COPY = """
import sys, time
from pathlib import Path

source, out = map(Path, sys.argv[1:])
for folder in sorted(source.glob("iter_*")):
    for file in sorted(folder.rglob("*.pt")):
        target = out / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = file.read_bytes()
        with target.open("wb", buffering=0) as stream:
            for start in range(0, len(data), len(data) // 4):
                stream.write(data[start : start + len(data) // 4])
                time.sleep(0.15)
        time.sleep(1.3)
    (out / "latest_checkpointed_iteration.txt").write_text(str(int(folder.name.split("_")[1])))
"""
"""As Megatron-LM saves: file by file, the tracker last; between files it rests longer than --settle."""
