"""Turn lm_eval's exceptions on a user's task into messages that say what is wrong and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import jinja2

from milepost.errors import MissingDataError, TaskError
from milepost.tasks.lm_eval.templates.sandbox import TooMuch
from milepost.text.language import Phrase
from milepost.text.messages import one_line
from milepost.text.name_matching import did_you_mean

_FAULTS = (
    LookupError, ValueError, TypeError, AttributeError, AssertionError, ImportError, SyntaxError,
    RecursionError, ArithmeticError, NotImplementedError, MemoryError, jinja2.TemplateError,
)  # fmt: skip
_UNDEFINED = re.compile(r"'([^']*)' is undefined")


@contextmanager
def blaming_the_task(name: str, task: object = None, *, is_own: bool) -> Iterator[None]:
    """Turn exceptions of the block into faults of the task `name`.

    Args:
        task: lm_eval's object, whose `features` are the fields of its docs once they are loaded.
        is_own: whether the user wrote any of the task; if not, exceptions other than of templates are bugs
            and pass unchanged.

    Raises:
        MissingDataError: a package is missing.
        TaskError: in place of another exception.
    """
    try:
        yield
    except TooMuch as error:
        raise TaskError(
            Phrase("task {name}: a template takes {error}", name=name, error=str(error)),
            "write one that gives a prompt of usual length",
        ) from error
    except jinja2.exceptions.SecurityError as error:
        raise TaskError(
            Phrase("task {name}: a template reaches for Python itself: {error}", name=name, error=str(error)),
            "read that template, then pass --allow-task-code if you trust it",
        ) from error
    except ModuleNotFoundError as error:
        raise MissingDataError(
            name,
            Phrase(
                "task {name}: a package is not installed: {reason}",
                name=name,
                reason=one_line(error, 300),
            ),
            Phrase("install it; --skip-missing-data leaves the task out"),
        ) from error
    except _FAULTS as error:
        if not is_own:
            raise
        raise _explained(name, error, sorted(getattr(task, "features", ()))) from error


def _explained(name: str, error: BaseException, fields: list[str]) -> TaskError:
    message = " ".join(str(error).split())
    undefined = _UNDEFINED.search(message) if isinstance(error, jinja2.UndefinedError) else None
    if undefined:
        return TaskError(
            Phrase(
                "task {name}: a template names {value!r}, which its docs do not have",
                name=name,
                value=undefined.group(1),
            ),
            fields_hint(undefined.group(1), fields),
        )
    if isinstance(error, KeyError) and fields:
        return TaskError(
            Phrase("task {name}: there is no {message}", name=name, message=message),
            fields_hint(str(error.args[0]) if error.args else "", fields),
        )
    if isinstance(error, IndexError) and fields:
        return TaskError(
            Phrase("lm_eval cannot use task {name}: {message}", name=name, message=message),
            "doc_to_target gives the number of the right choice, from 0; the first doc's may be beyond its"
            " choices",
        )
    kind = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: "
    return TaskError(
        Phrase(
            "lm_eval cannot use task {name}: {kind}{message}",
            name=name,
            kind=kind,
            message=message[:300] or "no reason given",
        ),
        "compare its keys and the fields of its data with lm_eval's task guide",
    )


def fields_hint(wrong: str, fields: list[str]) -> str:
    """Return the closest name, or the list of all."""
    if hint := did_you_mean(wrong, fields):
        return hint
    if not fields:
        return Phrase("look at its data")
    listed = ", ".join([*(field[:40] for field in fields[:12]), *(["..."] if len(fields) > 12 else [])])
    return Phrase("their fields are {names}", names=listed)
