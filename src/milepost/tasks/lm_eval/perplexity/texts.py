"""The texts of perplexity tasks, in the form that each convention uses.

Words and bytes are always those of lm_eval's documents, before they are joined or detokenised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.errors import TaskError
from milepost.text.language import Phrase

if TYPE_CHECKING:
    import datasets

    Process = Callable[[datasets.Dataset], datasets.Dataset]

C4_DOCS = 1100
C4_WINDOWS = 256
"""GPTQ, SparseGPT and Wanda score the first 256 windows of the first 1,100 documents of C4's first validation
shard (Wanda, lib/data.py, `get_c4`)."""

C4_SHARD = "en/c4-validation.00000-of-00008.json.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of a text, as keys of an lm_eval task; the docs have a field `text`."""

    path: str
    name: str | None = None
    split: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    process: Process

    def config(self) -> dict[str, Any]:
        """Return the keys of an lm_eval task."""
        return {
            "dataset_path": self.path,
            "dataset_name": self.name,
            "dataset_kwargs": self.kwargs,
            "test_split": self.split,
            "process_docs": self.process,
        }


def form_of(text: str, form: str) -> Form:
    """Return a form of a text.

    Args:
        text: `wikitext2`, `c4` or a file.
        form: `joined` as in the pruning papers; `plain`, lm_eval's documents one after the other;
            `documents`, one doc each.

    Raises:
        TaskError: there is no such text, or the file is not UTF-8.
    """
    if text in TEXTS:
        return TEXTS[text][form]
    path = check_text(text)
    return Form(path="text", split="test", kwargs={"data_files": {"test": str(path)}}, process=_as_is)


def check_text(text: str) -> Path | None:
    """Return the file that `text` names; None for `wikitext2` and `c4`.

    Raises:
        TaskError: `text` is neither a name nor a file with text.
    """
    if text in TEXTS:
        return None
    path = Path(text)
    if not path.is_file():
        known = " or ".join(TEXTS)
        raise TaskError(
            Phrase("there is no text {text!r}", text=text),
            Phrase("pass --text {known}, or a file with plain text", known=known),
        )
    if not read_text(path).strip():
        raise TaskError(Phrase("{path} has no text in it", path=path), "pass a file with plain text")
    return path.resolve()


def read_text(path: Path) -> str:
    """Return a file's text with unchanged line ends.

    Raises:
        TaskError: the file is not UTF-8, or cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise TaskError(
            Phrase("{path} is not UTF-8 text (byte {start})", path=path, start=error.start),
            "convert it to UTF-8",
        ) from error
    except OSError as error:
        raise TaskError(
            Phrase("{path}: {strerror}", path=path, strerror=error.strerror), "pass a file that can be read"
        ) from error


def one_doc(text: str) -> datasets.Dataset:
    """Return a data set with the text as its only doc."""
    import datasets

    return datasets.Dataset.from_dict({"text": [text]})


def _as_is(docs: datasets.Dataset) -> datasets.Dataset:
    return docs


def _joined_by_blank_lines(lines: datasets.Dataset) -> datasets.Dataset:
    return one_doc("\n\n".join(lines["text"]))


def _pages(docs: datasets.Dataset) -> datasets.Dataset:
    return docs.rename_column("page", "text")


def _pages_in_one(docs: datasets.Dataset) -> datasets.Dataset:
    return one_doc("".join(docs["page"]))


def _first_docs(docs: datasets.Dataset) -> datasets.Dataset:
    return docs.select(range(min(C4_DOCS, len(docs))))


def _docs_in_one(docs: datasets.Dataset) -> datasets.Dataset:
    return one_doc("".join(_first_docs(docs)["text"]))


def _joined_by_spaces(docs: datasets.Dataset) -> datasets.Dataset:
    return one_doc(" ".join(_first_docs(docs)["text"]))


def _wikitext(path: str, process: Process) -> Form:
    return Form(path=path, name="wikitext-2-raw-v1", split="test", process=process)


def _c4(process: Process) -> Form:
    kwargs = {"data_files": {"validation": C4_SHARD}, "verification_mode": "no_checks"}
    return Form(path="allenai/c4", name="en", split="validation", kwargs=kwargs, process=process)


LINES, PAGES = "Salesforce/wikitext", "EleutherAI/wikitext_document_level"

TEXTS: dict[str, dict[str, Form]] = {
    "wikitext2": {
        "joined": _wikitext(LINES, _joined_by_blank_lines),
        "plain": _wikitext(PAGES, _pages_in_one),
        "documents": _wikitext(PAGES, _pages),
    },
    "c4": {
        "joined": _c4(_joined_by_spaces),
        "plain": _c4(_docs_in_one),
        "documents": _c4(_first_docs),
    },
}
