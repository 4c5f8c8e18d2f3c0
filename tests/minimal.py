"""A virtual environment that has a few of the installed distributions and what they need, made of links."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOTS = ("torch", "transformers", "safetensors", "numpy", "pyarrow")
"""What a machine that only scores has to have."""


def make_environment(folder: Path, roots: tuple[str, ...] = ROOTS) -> Path:
    """Its Python; nothing is downloaded or copied, so this takes a second."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in with_needs(roots):
        found = metadata.distribution(name)
        for top in {Path(file).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            place = Path(str(found.locate_file(top)))
            if place.exists() and not (site / top).exists():
                (site / top).symlink_to(place)
    return folder / "bin" / "python"


def with_needs(roots: tuple[str, ...]) -> set[str]:
    """Names of distributions and of all that they need here, extras left out."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # needed on other systems only
        found.add(name)
        asked = (Requirement(one) for one in needed)
        waiting += [one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found
