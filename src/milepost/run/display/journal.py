"""Log a run: to the terminal, and to one `evaluation.log` per checkpoint.

Libraries repeat themselves (a warning for each of 57 MMLU subjects). Warnings are counted by the line of code
that they come from, and shown once with the count.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from milepost.errors import MilepostError
from milepost.run.display.screen_messages import (
    SHOWN,
    Screen,
    ScreenFormatter,
    TextHandler,
    counted_for_reader,
)
from milepost.run.display.signs_of_life import SignsOfLife
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import cannot_write
from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase

LIBRARIES = ("lm_eval", "transformers", "datasets", "huggingface_hub", "py.warnings", "accelerate")
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

_AT_ONCE = "at_once"
AT_ONCE = {_AT_ONCE: True}
"""The `extra` of a warning that is shown when it is given, and not counted with others like it."""

logger = logging.getLogger("milepost.run")


def parse_level(name: str) -> int:
    """Return the logging level with a name, as `--verbosity` and LMEVAL_LOG_LEVEL give it.

    Raises:
        MilepostError: there is no such level.
    """
    level = logging.getLevelName(name.upper())
    if not isinstance(level, int):
        raise MilepostError(
            Phrase("unknown log level {name!r}", name=name), "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"
        )
    return level


class _Repeats(logging.Handler):
    """Counts similar warnings; passes everything else on at once.

    Warnings from the same line of a library's code are similar, whatever they name (57 subjects). Python's
    warnings, which all come through one line of `logging`, and ours are similar when they are equal.
    """

    def __init__(self, say: logging.Handler, threads: Set[int]) -> None:
        """Warnings of each of `threads` are counted separately."""
        super().__init__()
        self._say = say
        self._threads = threads
        self._similar: dict[tuple[object, ...], list[logging.LogRecord]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno != logging.WARNING or getattr(record, _AT_ONCE, False):
            self._pass_on(record)
            return
        of = record.thread if record.thread in self._threads else None
        if record.name == "py.warnings" or record.name.startswith("milepost"):
            self._similar.setdefault((of, record.getMessage()), []).append(record)
        else:
            self._similar.setdefault((of, record.pathname, record.lineno), []).append(record)

    def say_counted(self, thread: int | None = None) -> list[str]:
        """Show the warnings of one thread, or of all others, once each with its count; returns them."""
        messages = []
        with self.lock or nullcontext():
            keys = [key for key in self._similar if key[0] == thread]
            counted = [self._similar.pop(key) for key in keys]
        for first, *others in counted:
            message = (first.getMessage().strip().splitlines() or [""])[0]
            if others:
                message = f"{message} (and {len(others)} more like it)"
            messages.append(message)
            self._pass_on(warning_record(message, first.name, shown=counted_for_reader(first, len(others))))
        return messages

    def _pass_on(self, record: logging.LogRecord) -> None:
        if record.levelno >= self._say.level:
            self._say.handle(record)


def warning_record(message: str, name: str = logger.name, shown: str | None = None) -> logging.LogRecord:
    """Return the record of a warning; `shown` is its text on a screen, if that differs."""
    record = logging.LogRecord(name, logging.WARNING, "", 0, message, None, None)
    if shown is not None:
        setattr(record, SHOWN, shown)
    return record


@dataclass(slots=True)
class _TakenOver:
    """The earlier state of a library's logger."""

    library: logging.Logger
    level: int
    propagate: bool
    handlers: list[logging.Handler]


class Journal:
    """The log of a run; as a context manager, it takes over the loggers of libraries for its time."""

    def __init__(self, level: int = logging.WARNING, screen: logging.Handler | None = None) -> None:
        """Make a journal.

        Args:
            screen: shows messages to the person; standard error if None.
        """
        name = os.environ.get("LMEVAL_LOG_LEVEL")
        self._level = parse_level(name) if name else level
        # `-v` shows the steps of Milepost; those of libraries are for -vv and LMEVAL_LOG_LEVEL.
        quiet = not name and self._level > logging.DEBUG
        self._library_level = max(self._level, logging.WARNING) if quiet else self._level
        self._signs = SignsOfLife() if screen is None else None
        """None in a worker, whose driver talks to the person."""
        self._screen = screen or Screen()
        self._screen.setFormatter(ScreenFormatter())
        self._screen.setLevel(self._level)
        self._aside: set[int] = set()
        """Threads with a log of their own."""
        self._repeats = _Repeats(self._screen, self._aside)
        self._taken: list[_TakenOver] = []
        self._python_warnings = warnings.catch_warnings()
        self._record_factory: Callable[..., logging.LogRecord] = logging.LogRecord
        self._prepared: list[str] = []

    def __enter__(self) -> Journal:
        self._python_warnings.__enter__()
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", ResourceWarning)  # for the authors of libraries; Python hides it too
        logging.captureWarnings(True)
        self._record_factory = logging.getLogRecordFactory()
        logging.setLogRecordFactory(_DiscreetRecord)
        for name in ("milepost", *LIBRARIES):
            library = logging.getLogger(name)
            self._taken.append(_TakenOver(library, library.level, library.propagate, list(library.handlers)))
        self._take_over()
        if self._signs is not None:
            self._signs.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._signs is not None:
            self._signs.__exit__()
        self._repeats.say_counted()
        for taken in self._taken:
            _set_level(taken.library, taken.level)
            taken.library.propagate, taken.library.handlers = taken.propagate, taken.handlers
        self._taken.clear()
        logging.captureWarnings(False)
        logging.setLogRecordFactory(self._record_factory)
        self._python_warnings.__exit__(None, None, None)

    def _take_over(self) -> None:
        """Make ours the only handler; a library that was just imported has added another."""
        for taken in self._taken:
            library = taken.library
            taken.handlers += [h for h in library.handlers if h not in (self._repeats, *taken.handlers)]
            ours = library.name == "milepost"
            _set_level(library, min(self._level, logging.INFO) if ours else self._library_level)
            library.propagate = False
            library.handlers = [self._repeats]

    def say_collected(self) -> list[str]:
        """Show each warning of the preparation (tasks, data, tokenizer) once; every log gets them as well."""
        messages = self._repeats.say_counted()
        self._prepared += messages
        return messages

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Say what is done while the block lasts, and log (`-v`) the time that it took."""
        start, start_cpu = time.monotonic(), time.process_time()
        with nullcontext() if self._signs is None else self._signs.stage(what):
            yield
        self._take_over()
        wall, cpu = time.monotonic() - start, time.process_time() - start_cpu
        logger.info("%s: %.1f s (%.1f s CPU)", what, wall, cpu)

    @contextmanager
    def evaluation_log(self, path: Path, *, aside: bool = False) -> Iterator[logging.Logger]:
        """Open a logger that writes one checkpoint's `evaluation.log`.

        Warnings come at its end, once each, with those of the preparation.

        Args:
            aside: the block works on an earlier checkpoint in another thread: only the messages of this
                thread are added to that checkpoint's log.

        Raises:
            StorageError: the log cannot be written; said at the end, and not for each line.
        """
        thread = threading.get_ident() if aside else None
        if thread is not None:
            self._aside.add(thread)
        try:
            text = io.TextIOWrapper(inside.append(path), encoding="utf-8", write_through=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        file = _LogFile(text)
        file.setFormatter(_FileFormatter(FORMAT))
        file.setLevel(min(self._level, logging.INFO))
        file.addFilter(lambda record: record.levelno != logging.WARNING or not record.lineno)
        file.addFilter(lambda record: (record.thread if record.thread in self._aside else None) == thread)
        for taken in self._taken:
            taken.library.addHandler(file)
        try:
            yield logging.getLogger("milepost.checkpoint")
        finally:
            for taken in self._taken:
                taken.library.removeHandler(file)
            prepared = [] if aside else self._prepared
            for message in [*prepared, *self._repeats.say_counted(thread)]:
                file.handle(warning_record(message))
            file.close()
            try:
                text.close()
            except OSError as error:
                file.failure = file.failure or error
            if thread is not None:
                self._aside.discard(thread)
        if file.failure is not None:
            raise cannot_write(path, file.failure) from file.failure


def _set_level(library: logging.Logger, level: int) -> None:
    # `setLevel` empties the cache of every logger there is, thousands once transformers is imported.
    if library.level != level:
        library.setLevel(level)


class _DiscreetRecord(logging.LogRecord):
    """A record without secrets: libraries log URLs with credentials, some through their own handlers."""

    def getMessage(self) -> str:
        return without_secrets(super().getMessage())


class _LogFile(TextHandler):
    """Writes a log; that the disk is full is remembered, where Python would print a traceback per line."""

    failure: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.failure = self.failure or error
        else:
            super().handleError(record)


class _FileFormatter(logging.Formatter):
    """Hides secrets in a traceback, which `_DiscreetRecord` does not see."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))
