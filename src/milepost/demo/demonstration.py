"""Run the demo: invent a world, train a model, evaluate all checkpoints, draw a picture and a page, compare a
pruned copy.

What an earlier run in the same folder has finished is used again.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.demo.lessons import Lessons, prepare_lessons
from milepost.demo.tasks import TASKS, write_tasks
from milepost.demo.world import make_world
from milepost.errors import MilepostError
from milepost.text.language import Phrase, _

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from milepost.api.compare import Compared
    from milepost.api.results import Results
    from milepost.demo.training import Progress, Recipe

SEED = 0
RECIPE_FILE = "recipe.json"
LOCK_FILE = ".demo.lock"
LINES_OF_PROGRESS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """Files and times of a finished demo."""

    tasks: Path
    model: Path
    results: Results
    curve: Path
    report: Path
    pruned: Compared
    """The last checkpoint against a copy of it with half of its weights set to zero."""
    notices: tuple[str, ...]
    """Explanations for the reader of the picture and the page."""
    train_s: float
    """Wall seconds; next to nothing where the model was there already."""
    evaluate_s: float


@contextlib.contextmanager
def only_demo_in(folder: Path) -> Iterator[None]:
    """Keep other demos out of the folder; the system ends this even if the process is killed.

    Raises:
        MilepostError: another demo is at work in the folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("w")
    except OSError as error:
        raise MilepostError(
            Phrase("{filename}: {strerror}", filename=error.filename, strerror=error.strerror),
            "choose another folder with -o",
        ) from error
    with lock:
        try:
            if sys.platform != "win32":
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MilepostError(
                Phrase("another `milepost demo` is at work in {folder}", folder=folder),
                "wait for it, or choose another folder with -o",
            ) from error
        yield


def demonstrate(folder: Path, say: Callable[[str], None], recipe: Recipe | None = None) -> Demonstration:
    """Create everything in `folder`.

    Args:
        folder: where all of it goes; created if need be.
        say: called with a line whenever something begins or gets on.
        recipe: another course of training than the demo's own.

    Raises:
        MilepostError: the folder cannot be written, holds a model of another recipe, or another demo is
            at work in it.
    """
    with only_demo_in(folder):
        return _demonstrate(folder, say, recipe)


def _demonstrate(folder: Path, say: Callable[[str], None], recipe: Recipe | None) -> Demonstration:
    from milepost.api.evaluate import evaluate

    tasks, model = folder / "tasks", folder / "tiny-llama"
    lessons = prepare_lessons(make_world(SEED), SEED)
    try:
        write_tasks(lessons, tasks)
    except OSError as error:
        raise MilepostError(
            Phrase("{filename}: {strerror}", filename=error.filename, strerror=error.strerror),
            "choose another folder with -o",
        ) from error

    say(
        _(
            "world: {n} sentences to read, {m} facts and sums to ask",
            n=len(lessons.sentences),
            m=len(lessons.unfinished),
        )
    )
    began = time.perf_counter()
    _train_once(lessons, model, say, recipe)
    trained = time.perf_counter()
    say(
        _(
            "evaluating {n} checkpoints on {tasks}",
            n=len(list(model.glob("checkpoint-*"))),
            tasks=", ".join(TASKS),
        )
    )
    results = evaluate(
        model, TASKS, output_path=folder / "results", include_path=tasks, device="cpu", dtype="float32"
    )
    pruned = _prune_and_compare(folder, model, results, say)
    evaluated = time.perf_counter()
    curve, report = folder / "curve.png", folder / "report.html"
    return Demonstration(
        tasks=tasks,
        model=model,
        results=results,
        curve=curve,
        report=report,
        pruned=pruned,
        notices=_show(results, curve, report),
        train_s=trained - began,
        evaluate_s=evaluated - trained,
    )


def _prune_and_compare(folder: Path, model: Path, results: Results, say: Callable[[str], None]) -> Compared:
    from milepost.api.compare import compare
    from milepost.demo.pruning import KEPT, OF, prune_copy

    last = max(model.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    pruned = folder / "tiny-llama-pruned"
    if not pruned.exists():
        prune_copy(last, pruned)
    say(
        _(
            "comparing {name} with a copy of it that keeps {kept} of every {m} weights",
            name=last.name,
            kept=KEPT,
            m=OF,
        )
    )
    return compare(
        f"{results.path}@{last.name}",
        pruned,
        TASKS,
        output_path=folder / "comparison",
        perplexity=False,
        include_path=folder / "tasks",
        device="cpu",
        dtype="float32",
    )


def _train_once(lessons: Lessons, model: Path, say: Callable[[str], None], recipe: Recipe | None) -> None:
    """Train unless that was done; the folder gets its name only when all of its checkpoints are there."""
    from milepost.demo.training import Recipe, train

    recipe = recipe or Recipe()
    told = json.dumps(asdict(recipe), indent=1)
    if model.exists():
        if not _holds(model / RECIPE_FILE, told):
            raise MilepostError(
                Phrase("{model} was trained by another recipe than this demo's", model=model),
                "remove it, or choose another folder with -o",
            )
        say(_("model: {model} is there already", model=model))
        return

    def report(progress: Progress) -> None:
        if progress.step % max(1, progress.steps // LINES_OF_PROGRESS) == 0:
            say(
                _(
                    "  step {step} of {steps}: loss {loss:.2f} nats per token",
                    step=progress.step,
                    steps=progress.steps,
                    loss=progress.loss,
                )
            )

    say(_("training a Llama of {layers} layers for {steps} steps", layers=recipe.layers, steps=recipe.steps))
    unfinished = model.with_name(f"{model.name}.unfinished")
    if unfinished.exists():  # of a run that was interrupted
        shutil.rmtree(unfinished)
    rng = random.Random(SEED)
    train(lambda: lessons.documents(rng), unfinished, recipe, report)
    (unfinished / RECIPE_FILE).write_text(told, "utf-8")
    unfinished.rename(model)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


def _show(results: Results, curve: Path, report: Path) -> tuple[str, ...]:
    from milepost.analysis.selection import summary_rows
    from milepost.report.chart_files import words_of_picture, write_chart
    from milepost.report.charts.curves import curve as draw
    from milepost.report.charts.remarks import remarks
    from milepost.report.files import write_file
    from milepost.web.report_file import open_view, report_html

    rows = summary_rows(results.rows())
    with words_of_picture(curve):
        picture = draw(rows, log_x=True)
    notices = [*remarks(rows, log_x=True), *write_chart(picture, curve)]
    write_file(report, report_html(open_view(results.path)).encode())
    return tuple(dict.fromkeys(notices))
