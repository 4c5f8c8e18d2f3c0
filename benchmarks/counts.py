"""Count the shared tokens of five real tasks: tokens that lm_eval runs, unique tokens, and their FLOPs.

    python benchmarks/counts.py

Only plans are computed.
"""

from __future__ import annotations

import argparse
from typing import Any

from common import SHAPES, markdown, offline_hub, write_result
from questions import TASKS, Work, real_questions


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--dry", action="store_true", help="write no result file")
    options = parser.parse_args(arguments)
    with offline_hub():
        table = [row(name) for name in options.tasks]
    print("\n".join(markdown(table)))
    if not options.dry:
        print(write_result("counts", "real-tasks", {}, table))


def row(name: str) -> dict[str, Any]:
    """Return the row of one task."""
    questions = real_questions(TASKS[name])
    sequences = questions.sequences
    work = Work.of(sequences)
    ratios = {f"FLOP ratio {shape}": work.flop_ratio(SHAPES[shape]) for shape in ("15M", "135M", "500M")}
    return {
        "task": name,
        "requests": len(sequences),
        "raw": work.raw,
        "grouped": work.grouped,
        "unique": work.unique,
        "needed rows": work.needed,
        **ratios,
    }


if __name__ == "__main__":
    main()
