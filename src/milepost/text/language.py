"""Show what people read in their language: gettext over one catalogue, English where it has none.

`_` and `ngettext` translate now, for text that is printed at once. A `Phrase` is translated when it is shown:
errors are also stored, and everything that programs read is English.
"""

from __future__ import annotations

import gettext
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

DOMAIN = "milepost"
FOLDER = Path(__file__).parents[1] / "locale"
ENGLISH = "en"
VARIABLES = ("MILEPOST_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
"""Environment variables that choose the language; the first that is set counts."""

_chosen: ContextVar[str | None] = ContextVar("language", default=None)


def _(text: str, /, **values: Any) -> str:
    """Return a text in the reader's language, with `{name}` replaced by the values."""
    found = _catalogue(language()).gettext(text) if text else text
    return found.format(**_translated(values)) if values else found


def ngettext(one: str, many: str, n: int, /, **values: Any) -> str:
    """Return the form of a text for `n` things in the reader's language, with `{n}` and `{name}` replaced."""
    return _catalogue(language()).ngettext(one, many, n).format(n=n, **_translated(values))


class Phrase(str):
    """A text that is English for programs and records; `translated` returns it in the reader's language."""

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Phrase:
        """Make a text from a template with `{name}` in it; without values, braces are kept."""
        made = super().__new__(cls, template.format(**values) if values else template)
        made.template, made.values = template, values
        return made


def joined(between: str, parts: Iterable[str]) -> str:
    """Return texts one after the other, as a phrase whose parts are translated when it is shown."""
    named = {f"part{number}": part for number, part in enumerate(parts)}
    return Phrase(between.join(f"{{{name}}}" for name in named), **named) if named else ""


def for_reader(text: str) -> str:
    """Return a phrase in the reader's language; any other text, such as a foreign name, as it is."""
    return translated(text) if isinstance(text, Phrase) else text


def translated(text: str) -> str:
    """Return a phrase, or a text that the catalogue has, in the reader's language; any other as it is."""
    return _(text.template, **text.values) if isinstance(text, Phrase) else _(text)


def language() -> str:
    """Return the reader's language: that of `speaking`, else that of the environment."""
    return _chosen.get() or _of_environment()


@contextmanager
def speaking(wanted: str) -> Iterator[None]:
    """Show text in the first known of these languages while it lasts, as for one request of a web page.

    Args:
        wanted: one language (`zh_CN`) or an Accept-Language header (`zh-CN,zh;q=0.9,en;q=0.8`).
    """
    token = _chosen.set(best_match(wanted))
    try:
        yield
    finally:
        _chosen.reset(token)


def best_match(wanted: str) -> str:
    """Return the known language that is wanted most; English where none is known."""
    for tag in sorted(wanted.split(","), key=_weight, reverse=True):
        primary = _primary(tag.partition(";")[0])
        if primary == ENGLISH:
            return ENGLISH
        for known in languages():
            if _primary(known) == primary:
                return known
    return ENGLISH


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that have a catalogue, besides English."""
    return tuple(sorted(path.parent.parent.name for path in FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")))


def _of_environment() -> str:
    return _normal(next((value for name in VARIABLES if (value := os.environ.get(name))), ENGLISH))


@cache
def _normal(wanted: str) -> str:
    return best_match(wanted)


def _primary(tag: str) -> str:
    """Return `zh` for `zh_CN.UTF-8`, `zh-Hans` and `zh`."""
    return tag.strip().replace("-", "_").partition(".")[0].partition("_")[0].lower()


def _weight(tag: str) -> float:
    """Return the weight of a part of an Accept-Language header."""
    quality = tag.partition("q=")[2].strip()
    try:
        return float(quality) if quality else 1.0
    except ValueError:
        return 0.0


@cache
def _catalogue(name: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, FOLDER, [name], fallback=True)


def _translated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the phrases among the values; names and paths stay as they are."""
    return {name: for_reader(value) if isinstance(value, str) else value for name, value in values.items()}
