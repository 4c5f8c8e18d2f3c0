"""Refuse files in the working directory that would run in place of a metric that lm_eval's tasks load.

`evaluate.load("squad_v2")` prefers `./squad_v2/squad_v2.py`, if it exists, to the metric of the Hub. A
command in a folder received from a stranger would run the code of that stranger. Source: evaluate/loading.py
(`evaluation_module_factory`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from milepost.errors import TaskError
from milepost.tasks.lm_eval.checks import CheckedTasks
from milepost.tasks.lm_eval.yaml_file import read_regular_file
from milepost.text.language import Phrase

_LOADED = re.compile(rb"""\bload\(\s*["']([\w./-]+)["']""")
MOST_BYTES = 1_000_000


def check_shadows(checked: CheckedTasks) -> None:
    """Look for scripts with the names that the tasks' code loads.

    Raises:
        TaskError: such a script exists.
    """
    own = {config.path for _, config in checked.own()}
    asking: dict[Path, str] = {}
    for entry in checked.catalog.values():
        config = checked.configs.get(str(entry.path))
        if config is not None and config.path not in own:
            for file in config.files:
                if file.code or "class" in file.content:
                    asking.setdefault(file.path.parent, entry.name)
    for folder, task in asking.items():
        for name in _loaded_in(folder):
            script = os.path.join(name, f"{os.path.basename(name)}.py")
            if os.path.lexists(script) or (name.endswith(".py") and os.path.lexists(name)):
                place = os.path.abspath(script)
                raise TaskError(
                    Phrase(
                        "task {task} loads the metric {name}, and {place} would run in its place",
                        task=task,
                        name=name,
                        place=place,
                    ),
                    "run the command in another folder",
                )


def _loaded_in(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("*.py"):
        try:
            found.update(name.decode() for name in _LOADED.findall(read_regular_file(path, MOST_BYTES)))
        except (OSError, ValueError):
            continue
    return found
