"""Measure every checkpoint of a training run and name the best: `python evaluate_series.py RUN TASK RESULTS`.

python examples/evaluate_series.py demo-out/tiny-llama capitals results
"""

from __future__ import annotations

import sys
from pathlib import Path

import milepost

OWN_TASKS = Path(__file__).with_name("own_task")


def main(run: str, task: str, folder: str) -> None:
    """Evaluate `run` on `task`, draw the curve and print one line per checkpoint."""
    results = milepost.evaluate(run, task, output_path=folder, include_path=OWN_TASKS)
    results.plot(Path(folder) / "curve.svg")
    rows = [row for row in results.rows() if row.metric == "acc"]
    best = max(rows, key=lambda row: row.value)
    for row in rows:
        # Two intervals that overlap do not tell which is better; `milepost show` tests the docs in pairs.
        overlaps = row.ci_high is not None and best.ci_low is not None and row.ci_high >= best.ci_low
        mark = "best" if row is best else "not far from it" if overlaps else ""
        print(f"{row.checkpoint:16} {row.value:.4f} [{row.ci_low:.4f}, {row.ci_high:.4f}] {mark}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
