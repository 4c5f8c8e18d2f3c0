"""The process that renders templates of unknown cost; a costly template ends it.

Reads requests from standard input and writes answers to standard output, each a length followed by bytes. A
request is a pickle of (template, doc) from the parent process; an answer is a kind and a text, so that a
template can send only text back.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import os
import pickle
import struct
import sys
from typing import IO, Any

import jinja2
from jinja2.exceptions import SecurityError

from milepost.tasks.lm_eval.templates.sandbox import TooMuch, make_sandbox, parse, render_bounded

RENDERED, UNDEFINED, SYNTAX, UNSAFE, TOO_MUCH, FAILED = b"R", b"N", b"S", b"U", b"T", b"F"
MOST_SECONDS = 10.0
"""For one template and doc; a prompt takes a thousandth of a second."""
MOST_BYTES = 1 << 30
"""Memory of this process, on systems that can bound it."""
LENGTH = struct.Struct("<Q")


def main(most_seconds: float = MOST_SECONDS) -> None:
    """Answer requests until standard input ends."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _bound_memory()
    send(answers, b"ready")
    while (request := receive(requests)) is not None:
        faulthandler.dump_traceback_later(most_seconds, exit=True)
        try:
            kind, text = _answer(request)
        finally:
            faulthandler.cancel_dump_traceback_later()
        send(answers, kind + text.encode("utf-8", "surrogatepass"))


def _answer(request: bytes) -> tuple[bytes, str]:
    try:
        text, doc = pickle.loads(request)
        return RENDERED, render_bounded(_compiled(text), doc)
    except MemoryError:
        return TOO_MUCH, f"more than {MOST_BYTES >> 30} GB of memory"
    except TooMuch as error:
        return TOO_MUCH, str(error)
    except SecurityError as error:
        return UNSAFE, str(error)
    except jinja2.TemplateSyntaxError as error:
        return SYNTAX, str(error)
    except jinja2.UndefinedError as error:
        return UNDEFINED, str(error)
    except Exception as error:
        return FAILED, f"{type(error).__name__}: {error}"[:1000]


@functools.cache
def _sandbox() -> Any:
    return make_sandbox()


@functools.lru_cache(maxsize=256)
def _compiled(text: str) -> jinja2.Template:
    tree = parse(_sandbox(), text)
    template: jinja2.Template = _sandbox().from_string(tree)
    return template


def _bound_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def send(stream: IO[bytes], message: bytes) -> None:
    """Write a message."""
    stream.write(LENGTH.pack(len(message)) + message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Return the next message; None if the other side has ended."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None


if __name__ == "__main__":
    main()
