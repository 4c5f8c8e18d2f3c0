"""Keep the catalogues of translations: `make messages` runs this file.

New texts of the code go into each `milepost.po` without a translation, texts that are gone leave it, and the
`.mo` file that the package reads is written from it. Whoever translates edits the `.po` file and runs
`make messages` again.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "milepost"
READ_BY = [
    ("**.py", "translations.extraction:extract_python"),
    ("tasks/suites/**.yaml", "translations.extraction:extract_suites"),
    ("**.j2", "jinja2"),
]
MARKS = {"_": None, "ngettext": (1, 2), "Phrase": None}


def extracted() -> Catalog:
    """Return the texts of the package, in the order of its files."""
    found = Catalog(project="Milepost", charset="utf-8", fuzzy=False)
    for file, _line, text, _comments, _context in extract_from_dir(PACKAGE, READ_BY, keywords=MARKS):
        found.add(text, locations=[(file, 0)])
    return found


def catalogues() -> Iterator[Path]:
    """Yield the `.po` file of each language."""
    yield from sorted(PACKAGE.glob("locale/*/LC_MESSAGES/milepost.po"))


def read(path: Path) -> Catalog:
    """Return the catalogue in a `.po` file."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


def as_mo(catalogue: Catalog) -> bytes:
    """Return the content of the `.mo` file."""
    written = BytesIO()
    write_mo(written, catalogue)
    return written.getvalue()


def update(path: Path) -> int:
    """Bring a `.po` file up to the code and write its `.mo` file; return the number of texts it lacks."""
    catalogue = read(path)
    catalogue.update(extracted(), no_fuzzy_matching=True, update_creation_date=False)
    catalogue.obsolete.clear()
    with path.open("wb") as file:
        write_po(file, catalogue, width=110, omit_header=False, sort_by_file=True, include_lineno=False)
    path.with_suffix(".mo").write_bytes(as_mo(catalogue))
    return len(untranslated(catalogue))


def untranslated(catalogue: Catalog) -> list[str]:
    """Return the texts that lack a translation, or a form of it."""
    return [str(message.id) for message in catalogue if message.id and not _is_translated(message)]


def _is_translated(message: Message) -> bool:
    forms = [message.string] if isinstance(message.string, str) else list(message.string or ())
    return bool(forms) and all(forms)


if __name__ == "__main__":
    for po in catalogues():
        print(f"{po}: {update(po)} texts without a translation")
