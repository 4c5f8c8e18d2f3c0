"""Cache what lm_eval and datasets compute again and again; the results are the same.

Templates: lm_eval compiles the same Jinja template for every field of every doc, 95 % of the time it takes to
build requests. Here compiled templates are cached by their text. They are rendered in lm_eval's own Jinja
environment, or, for task files that the user does not trust, in a sandbox (`templates`): a template can reach
any Python object through the attributes of a string. Data set cards: datasets parses the card's YAML again
for each subset, with the Python parser, most of the time to load the 57 subjects of MMLU. Here libyaml parses
it. Source: lm_eval/utils.py `apply_template`; huggingface_hub/repocard.py.
"""

from __future__ import annotations

import ast
import functools
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import datasets.utils
import lm_eval.api.task
import lm_eval.utils
import yaml
from tqdm import tqdm

from milepost.network.progress_bars import without_progress_bars
from milepost.tasks.lm_eval.templates.rendering import render_untrusted
from milepost.tasks.settings import TaskSettings

LONGEST_LITERAL = 1_000_000
"""Characters; Python's parser takes a few hundred bytes for each."""


@contextmanager
def compiled_templates(settings: TaskSettings, *, enabled: bool = True) -> Iterator[None]:
    """Let lm_eval use cached templates, and show no progress bars, while the block runs.

    If task files are not trusted, lm_eval renders in the sandbox from then on, after the block too, so that
    later calls into tasks are safe as well. A template that breaks the sandbox raises jinja2's SecurityError.

    Args:
        enabled: False compiles each time, as lm_eval does; only if every task file is trusted.
    """
    if not settings.trusts_task_files:
        lm_eval.utils.apply_template = render_untrusted
        lm_eval.api.task.ast = _BoundedLiterals
    original, bar = lm_eval.utils.apply_template, lm_eval.api.task.tqdm
    if enabled and settings.trusts_task_files:
        lm_eval.utils.apply_template = _render
    lm_eval.api.task.tqdm = functools.partial(tqdm, disable=True)
    try:
        yield
    finally:
        lm_eval.utils.apply_template, lm_eval.api.task.tqdm = original, bar


@contextmanager
def compiled_yaml() -> Iterator[None]:
    """Let `yaml.safe_load` use libyaml, if PyYAML was built with it, while the block runs."""
    original = yaml.SafeLoader
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", original)
    try:
        yield
    finally:
        yaml.SafeLoader = original


@contextmanager
def plain_output() -> Iterator[None]:
    """Switch off needless warnings, and progress bars if there is no terminal, while the block runs."""
    loggers = [logging.getLogger(name) for name in ("lm_eval.config.task", "lm_eval.api.task")]
    for library_logger in loggers:
        library_logger.addFilter(_is_useful)
    try:
        with nullcontext() if sys.stderr.isatty() else without_progress_bars(datasets.utils):
            yield
    finally:
        for library_logger in loggers:
            library_logger.removeFilter(_is_useful)


_NEEDLESS = re.compile(
    r"None: No `generation_kwargs`|.* is defined, but (aggregation|higher_is_better) is not"
)
"""The first warns of classes such as squadv2's, whose requests bring their own generation settings; the
second of metrics that use lm_eval's default."""


def _is_useful(record: logging.LogRecord) -> bool:
    return _NEEDLESS.match(record.getMessage()) is None


def _in_plain_words(record: logging.LogRecord) -> bool:
    """Shorten lm_eval's warning of a wrong label, which holds the whole doc on many lines."""
    if record.getMessage().startswith("Label index was not in"):
        record.msg, record.args = (
            "the label of a doc is not one of its choices; every answer counts as wrong",
            (),
        )
    return True


logging.getLogger("lm_eval.api.task").addFilter(_in_plain_words)


@functools.lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    return lm_eval.utils.env.from_string(text)


def _render(template: str, doc: dict[str, Any]) -> str:
    rendered: str = _compiled(template).render(**doc)
    return rendered


class _BoundedLiterals:
    """The part of Python's `ast` that lm_eval uses on rendered templates, with a bound on the length."""

    @staticmethod
    def literal_eval(text: str) -> Any:
        if len(text) > LONGEST_LITERAL:
            raise ValueError(f"a list of {len(text):,} characters is longer than any doc's choices")
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(f"{text[:60]!r} is not a list such as ['a', 'b']") from error
