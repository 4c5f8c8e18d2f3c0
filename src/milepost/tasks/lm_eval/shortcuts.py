"""What lm_eval and datasets do over and over, done once; the results are the same.

Templates: lm_eval compiles the same Jinja template for every field of every doc, 95 % of the time it takes to
build requests. Here the compiled template is remembered by its text, in lm_eval's own Jinja environment, or
where the user's own task files are not trusted in a sandbox (`templates`): a template can reach any Python
object through the attributes of a string. Data set cards: datasets parses the card's YAML again for each
subset, with the Python parser: for the 57 subjects of MMLU most of the time it takes to load them. Here
libyaml parses it.
Source: lm_eval/utils.py `apply_template`; huggingface_hub/repocard.py.
"""

from __future__ import annotations

import ast
import functools
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lm_eval.api.task
import lm_eval.utils
import yaml
from tqdm import tqdm

from milepost.tasks.lm_eval.templates.rendering import render_untrusted
from milepost.tasks.settings import TaskSettings

LONGEST_LITERAL = 1_000_000
"""Characters; Python's parser takes a few hundred bytes for each."""


@contextmanager
def compiled_templates(settings: TaskSettings, *, enabled: bool = True) -> Iterator[None]:
    """While it lasts lm_eval renders through remembered templates (and shows no progress bars of its own).

    Where task files are not trusted, all that lm_eval renders from then on is rendered in the sandbox, within
    this context or not: whoever asks a task for its choices later need not think of it. What a template may
    not do there raises jinja2's SecurityError.

    Args:
        enabled: False compiles each time, as lm_eval does; only where every task file is trusted.
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
    """While it lasts `yaml.safe_load` parses with libyaml, where PyYAML was built with it."""
    original = yaml.SafeLoader
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", original)
    try:
        yield
    finally:
        yaml.SafeLoader = original


@contextmanager
def plain_output() -> Iterator[None]:
    """While it lasts datasets draws no progress bars, unless on a terminal: a log file wants none.

    Nor does lm_eval warn of what nobody need act on (`_NO_NEWS`).
    """
    loggers = [logging.getLogger(name) for name in ("lm_eval.config.task", "lm_eval.api.task")]
    for one in loggers:
        one.addFilter(_is_news)
    try:
        with _no_progress_bars():
            yield
    finally:
        for one in loggers:
            one.removeFilter(_is_news)


_NO_NEWS = re.compile(
    r"None: No `generation_kwargs`|.* is defined, but (aggregation|higher_is_better) is not"
)
"""The first is said of classes without a name, such as squadv2's, whose requests say themselves how a text is
asked for, whatever lm_eval makes up here; the second wherever a metric is counted as it always is."""


def _is_news(record: logging.LogRecord) -> bool:
    return _NO_NEWS.match(record.getMessage()) is None


def _in_plain_words(record: logging.LogRecord) -> bool:
    """lm_eval's warning of a label holds the whole doc, on many lines."""
    if record.getMessage().startswith("Label index was not in"):
        record.msg, record.args = (
            "the label of a doc names none of its choices; every answer counts as wrong",
            (),
        )
    return True


logging.getLogger("lm_eval.api.task").addFilter(_in_plain_words)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled() or sys.stderr.isatty():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@functools.lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    return lm_eval.utils.env.from_string(text)


def _render(template: str, doc: dict[str, Any]) -> str:
    rendered: str = _compiled(template).render(**doc)
    return rendered


class _BoundedLiterals:
    """Python's `ast`, as far as lm_eval's tasks use it on what a template gave."""

    @staticmethod
    def literal_eval(text: str) -> Any:
        if len(text) > LONGEST_LITERAL:
            raise ValueError(f"a list of {len(text):,} characters is longer than any doc's choices")
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(f"{text[:60]!r} is not a list such as ['a', 'b']") from error
