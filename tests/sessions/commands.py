"""Terminal sessions kept as text: commands on made results, at 80 and at 200 columns.

`python -m tests.sessions.commands` writes the files anew after a change of what is printed; read the
difference.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

from rich.console import Console

from milepost.cli.menu import Dialogue, Job, actions
from milepost.report.blocks import Block
from milepost.report.comparison.report import comparison_summary
from milepost.report.terminal import print_blocks
from tests.analysis.made import accuracy, measurement, mmlu, perplexity, rising, write_results
from tests.cli.called import milepost
from tests.report.charts.test_comparison import study

HERE = Path(__file__).parent
WIDTHS = (80, 200)
STEPS = [1000, 2000, 4000, 8000, 16000]


def sessions(folder: Path, width: int) -> Iterator[tuple[str, str]]:
    """Yield name and text of each session."""
    series, models = _write_series(folder / "series"), _write_models(folder / "models")
    commands = {
        "show": ("show", series),
        "show-models": ("show", models),
        "show-models-sorted": ("show", models, "--sort", "value"),
        "signal": ("signal", series),
    }
    for name, words in commands.items():
        called = milepost(*words, width=width)
        typed = " ".join(str(word).replace(str(folder), "runs") for word in words)
        text = called.out.replace(str(folder), "runs")
        yield name, f"$ milepost {typed}\n{text}"
    yield "compare", printed(comparison_summary(study(n_tasks=3, n_texts=1, n_variants=2)), width)
    with mock.patch.dict(os.environ, {"COLUMNS": str(width)}):
        yield "menu", _menu()


def printed(blocks: Iterable[Block], width: int) -> str:
    """Return blocks as a pipe of that width gets them."""
    out = io.StringIO()
    print_blocks(blocks, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def _menu() -> str:
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown), mock.patch("sys.stdin", io.StringIO("1\n")):
        Dialogue().choose("Choice", {name: what for name, (what, _) in actions(Job("runs/a")).items()}, "run")
    return shown.getvalue().removesuffix("Choice [2]: ")


def _write_series(path: Path) -> Path:
    measured = [
        *mmlu(STEPS, subjects=6),
        *rising("hellaswag", STEPS, low=0.26, high=0.55, n=10_042, dtype="float32"),
        *rising("arc_easy", STEPS, low=0.25, high=0.6, n=2376, num_fewshot=0),
        *[perplexity(value=v, step=s) for s, v in zip(STEPS, (900.0, 120.0, 60.0, 41.0, 33.5), strict=True)],
        *[
            measurement(task="piqa", step=s, value=None, stderr=None, reason="NaN in its logits")
            for s in STEPS
        ],
    ]
    return write_results(path, measured)


def _write_models(path: Path) -> Path:
    values = {"base-500m": (0.551, 0.612, 24.1), "pruned-500m": (0.547, 0.598, 25.7)}
    measured = [
        each
        for series, (hellaswag, piqa, text) in values.items()
        for each in (
            accuracy(series=series, task="hellaswag", value=hellaswag, n=10_042, step=8000),
            accuracy(series=series, task="piqa", value=piqa, n=1838, step=8000, chance=0.5),
            perplexity(series=series, value=text, step=8000),
        )
    ]
    return write_results(path, measured)


def path_of(name: str, width: int) -> Path:
    """Return the file of a session."""
    return HERE / f"{name}-{width}.txt"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for width in WIDTHS:
            for name, text in sessions(Path(made) / str(width), width):
                path_of(name, width).write_text(text, encoding="utf-8")
                print(path_of(name, width))
