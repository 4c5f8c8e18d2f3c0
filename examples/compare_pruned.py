"""Tell what pruning cost: `python compare_pruned.py ORIGINAL PRUNED TASKS OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import milepost

OWN_TASKS = Path(__file__).with_name("own_task")


def main(original: str, pruned: str, tasks: str, folder: str) -> None:
    """Evaluate both models, write the report and print a verdict for each task."""
    compared = milepost.compare(
        original, pruned, tasks, output_path=folder, perplexity=False, include_path=OWN_TASKS
    )
    assert compared.study is not None, compared.failures
    for variant in compared.study.variants:
        for task in variant.comparison.tasks:
            print(f"{task.task}: {task.verdict}")
    print(*compared.files, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:5])
