"""Render untrusted templates: simple ones in this process, others in a process with bounds."""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import subprocess
import sys
import threading
import time
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError

from milepost.errors import TaskError
from milepost.tasks.lm_eval.templates import worker
from milepost.tasks.lm_eval.templates.sandbox import (
    MOST_CHARACTERS,
    BoundedSandbox,
    TooMuch,
    is_simple,
    make_sandbox,
    parse,
    render_bounded,
)
from milepost.text.language import Phrase

_START = f"from {worker.__name__} import main; main()"
SLOW_IN_ALL_S, SLOW_EACH_S = 120.0, 0.25
"""Total and mean seconds above which templates are refused: a thousand docs would take hours."""


def render_untrusted(text: str, doc: dict[str, Any]) -> str:
    """Render a template for one doc, as lm_eval's environment would.

    Raises:
        SecurityError: the template accesses Python itself, or (TooMuch) needs more memory or time than any
            prompt.
        jinja2.TemplateError: the text is not a template, uses a field that the doc lacks, or cannot be
            rendered.
    """
    template = _compiled(text)
    if template is not None:
        return render_bounded(template, doc)
    return _worker().render(text, doc)


def check_template(text: str) -> None:
    """Check a template without rendering it. Raises as `parse`."""
    parse(_sandbox(), text)


@functools.cache
def _sandbox() -> BoundedSandbox:
    return make_sandbox()


@functools.lru_cache(maxsize=4096)
def _compiled(text: str) -> jinja2.Template | None:
    """Return a compiled template; None if it is not simple, as compiling may already evaluate parts of it."""
    tree = parse(_sandbox(), text)
    return _sandbox().from_string(tree) if is_simple(tree) else None


@functools.cache
def _worker() -> Worker:
    started = Worker()
    atexit.register(started.stop)
    return started


class Worker:
    """The rendering process; starts on first use, and again after a template has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._took_s, self._rendered = 0.0, 0

    def render(self, text: str, doc: dict[str, Any]) -> str:
        """Render in the process. Raises as `render_untrusted`."""
        try:
            request = pickle.dumps((text, doc))
        except Exception as error:
            raise TaskError(
                Phrase(
                    "a template uses a value that cannot be sent to another process: {error}", error=error
                ),
                "take that field out of the data, or pass --allow-task-code if you trust the template",
            ) from error
        with self._lock:
            began = time.monotonic()
            answer = self._answer_to(request)
            self._took_s += time.monotonic() - began
            self._rendered += 1
        if answer is None:
            raise TooMuch(
                f"more than {worker.MOST_SECONDS:.0f} s or {worker.MOST_BYTES >> 30} GB for one doc"
            )
        if self._took_s > SLOW_IN_ALL_S and self._took_s > SLOW_EACH_S * self._rendered:
            raise TooMuch(f"{self._took_s / self._rendered:.2g} s for each doc")
        return _read(answer)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()  # closes the pipes
            self._process = None

    def _answer_to(self, request: bytes) -> bytes | None:
        """Return the process's answer; None if the request ended the process."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            worker.send(process.stdin, request)
            answer = worker.receive(process.stdout)
        except OSError:
            answer = None
        except BaseException:
            self.stop()  # interrupted; its late answer would be taken for the next one
            raise
        if answer is None:
            self.stop()
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._process is None:
            command = [sys.executable, "-c", _START]
            path = os.pathsep.join(folder for folder in sys.path if folder)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
            assert self._process.stdout is not None
            if worker.receive(self._process.stdout) != b"ready":
                self.stop()
                raise TaskError(
                    "the process that renders templates does not start",
                    "pass --allow-task-code to render them here, if you trust the task files",
                )
        return self._process


def _read(answer: bytes) -> str:
    kind, text = answer[:1], answer[1:].decode("utf-8", "surrogatepass")
    if kind == worker.RENDERED and len(text) <= MOST_CHARACTERS:
        return text
    if kind == worker.UNDEFINED:
        raise jinja2.UndefinedError(text)
    if kind == worker.SYNTAX:
        raise jinja2.TemplateSyntaxError(text, 1)
    if kind == worker.UNSAFE:
        raise SecurityError(text)
    if kind == worker.FAILED:
        raise jinja2.TemplateRuntimeError(text)
    raise TooMuch(text[:200])
