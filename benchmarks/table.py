"""Make the speed table of both READMEs from the newest result file of each task and shape.

python benchmarks/table.py          writes it into the READMEs
python benchmarks/table.py --print  shows it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
READMES = ("README.md", "README.zh-CN.md")
BEGIN, END = "|---|---|---|---|---|\n", "\n\n"
"""The table is the only one of five columns; its head is written by hand in each language."""
NAMES = {
    "mmlu-0shot": "MMLU 0-shot",
    "mmlu-5shot": "MMLU 5-shot",
    "hellaswag": "HellaSwag",
    "arc-easy": "ARC-Easy",
    "piqa": "PIQA",
}
SHAPES = ("15M", "135M", "500M")


def rows() -> list[str]:
    """Return a line per shape and task in fp32, shapes ascending, tasks as in NAMES."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(RESULTS.glob("engine-*.json")):
        for row in json.loads(path.read_text("utf-8"))["table"]:
            if row.get("dtype") == "float32" and "ratio" in row and "variant" not in row:
                newest[row["shape"], row["task"]] = row
    ordered = [(shape, task) for shape in SHAPES for task in NAMES if (shape, task) in newest]
    return [_line(newest[key]) for key in ordered]


def _line(row: dict[str, Any]) -> str:
    cells = [
        f"{NAMES[row['task']]}, {row['shape']}",
        f"{row['lm_eval s']:.3g} s",
        f"{row['our s']:.3g} s",
        f"{row['ratio']:.1f}",
        f"{row['FLOP ratio']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def with_table(page: str) -> str:
    """Return the page with the table's rows of the result files."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join(rows()) + END + after


def main() -> None:
    if "--print" in sys.argv[1:]:
        print("\n".join(rows()))
        return
    for name in READMES:
        path = ROOT / name
        path.write_text(with_table(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
