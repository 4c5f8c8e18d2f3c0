"""What a run says: to the terminal, and to one `evaluation.log` per checkpoint.

Libraries repeat themselves (one warning for each of 57 MMLU subjects). While `collected` lasts, warnings are
counted by the line of code they come from and said once, with the count, at its end.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from milepost.errors import MilepostError

LIBRARIES = ("lm_eval", "transformers", "datasets", "huggingface_hub", "py.warnings", "accelerate")
FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

logger = logging.getLogger("milepost.run")


def parse_level(name: str) -> int:
    """A logging level by name, as `--verbosity` and LMEVAL_LOG_LEVEL give it.

    Raises:
        MilepostError: no such level.
    """
    level = logging.getLevelName(name.upper())
    if not isinstance(level, int):
        raise MilepostError(f"unknown log level {name!r}", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return level


@dataclass(slots=True)
class _Repeats(logging.Handler):
    """Counts warnings by the line of code that gave them; passes everything else on."""

    say: logging.Handler
    counts: dict[tuple[str, int, int], list[logging.LogRecord]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        logging.Handler.__init__(self)

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno != logging.WARNING:
            self._pass_on(record)
            return
        self.counts.setdefault((record.pathname, record.lineno, record.levelno), []).append(record)

    def flush_counts(self) -> list[str]:
        said = []
        for records in self.counts.values():
            first, times = records[0], len(records)
            message = first.getMessage().strip().splitlines()[0]
            if times > 1:
                message = f"{message} (and {times - 1} more like it)"
            said.append(message)
            self._pass_on(
                logging.LogRecord(
                    first.name, first.levelno, first.pathname, first.lineno, message, None, None
                )
            )
        self.counts.clear()
        return said

    def _pass_on(self, record: logging.LogRecord) -> None:
        if record.levelno >= self.say.level:
            self.say.handle(record)


class Journal:
    """The log of one run. Use as a context manager; it takes over the libraries' loggers while it lasts."""

    def __init__(self, level: int = logging.WARNING) -> None:
        asked = os.environ.get("LMEVAL_LOG_LEVEL")
        self._level = parse_level(asked) if asked else level
        self._screen = logging.StreamHandler(sys.stderr)
        self._screen.setFormatter(_ScreenFormatter())
        self._screen.setLevel(self._level)
        self._repeats = _Repeats(self._screen)
        self._before: list[tuple[logging.Logger, int, bool, list[logging.Handler]]] = []
        self.warnings: list[str] = []
        """Every warning of the preparation (tasks, data, tokenizer), said once each."""

    def __enter__(self) -> Journal:
        logging.captureWarnings(True)
        warnings.simplefilter("default")
        for name in ("milepost", *LIBRARIES):
            library = logging.getLogger(name)
            self._before.append((library, library.level, library.propagate, list(library.handlers)))
            library.setLevel(min(self._level, logging.INFO) if name == "milepost" else self._level)
            library.propagate = False
            library.handlers = [self._repeats]
        return self

    def __exit__(self, *_: object) -> None:
        self.say_collected()
        for library, level, propagate, handlers in self._before:
            library.setLevel(level)
            library.propagate, library.handlers = propagate, handlers
        self._before.clear()
        logging.captureWarnings(False)

    def say_collected(self) -> list[str]:
        """Print what was collected, each warning once with its count, and return it."""
        said = self._repeats.flush_counts()
        self.warnings += said
        return said

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Say (`-v`) how long a stage took."""
        start, start_cpu = time.monotonic(), time.process_time()
        yield
        wall, cpu = time.monotonic() - start, time.process_time() - start_cpu
        logger.info("%s: %.1f s (%.1f s CPU)", what, wall, cpu)

    @contextmanager
    def evaluation_log(self, path: Path) -> Iterator[logging.Logger]:
        """A logger that writes one checkpoint's `evaluation.log`; libraries' warnings go there too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter(FORMAT))
        file.setLevel(min(self._level, logging.INFO))
        names = ("milepost", *LIBRARIES)
        for name in names:
            logging.getLogger(name).addHandler(file)
        try:
            yield logging.getLogger("milepost.checkpoint")
        finally:
            for name in names:
                logging.getLogger(name).removeHandler(file)
            file.close()


class _ScreenFormatter(logging.Formatter):
    """Plain sentences for people; control characters from libraries or data never reach the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        message = "".join(c if c.isprintable() or c == "\t" else " " for c in record.getMessage())
        return message if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {message}"
