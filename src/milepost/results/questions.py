"""Find questions of a results folder again and again: what a search needs is kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milepost.errors import ResultsError
from milepost.store import file_state
from milepost.store.doc_texts import DocTexts, read_doc_texts
from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex
from milepost.store.kept_picks import KeptPicks
from milepost.store.pick_history import COLUMNS, Question, read_histories, read_questions
from milepost.types.histories import PickHistory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST_SELECTIONS = 3
"""Selections of tasks whose picks are kept."""
MOST_DOC_CHARACTERS = 8_000_000
"""Characters of docs with choices that are kept, the last shown first; read again once their file changed."""
MOST_TEXT_BYTES = 128_000_000
"""Texts of docs that are kept; others are read again for each search."""

_DocKey = tuple[str, file_state.Version | None, int]
"""The name of the record of the docs, the version of its file, and the doc."""


@dataclass(frozen=True, slots=True)
class Histories:
    """The picks, or the texts, of some tasks through training."""

    found: tuple[PickHistory, ...]
    damaged: dict[Path, str]
    """Damaged records, whose checkpoints are left out, with the reasons."""


class QuestionReader:
    """Reads questions of one folder; may be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index: ResultsIndex | None = None
        self._histories: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], Histories] = OrderedDict()
        self._picks = KeptPicks(COLUMNS)
        self._docs: OrderedDict[_DocKey, Question] = OrderedDict()
        self._doc_characters = 0
        self._texts: OrderedDict[str, DocTexts] = OrderedDict()
        self._text_bytes = 0

    def histories(
        self, index: ResultsIndex, tasks: Sequence[str] = (), series: Sequence[str] = ()
    ) -> Histories:
        """Return the picks of the tasks and series that match. Arguments, errors as of `read_histories`."""
        key = tuple(tasks), tuple(series)
        with self._lock:
            if index is not self._index:
                self._index = index
                self._histories.clear()
            if key not in self._histories:
                damaged: dict[Path, str] = {}
                found = read_histories(index, tasks, series, damaged=damaged, texts=True, picks=self._picks)
                self._histories[key] = Histories(tuple(found), damaged)
                if len(self._histories) > MOST_SELECTIONS:
                    self._histories.popitem(last=False)
            self._histories.move_to_end(key)
            return self._histories[key]

    def docs(self, results: ResultsFolder, wanted: Sequence[tuple[PickHistory, int]]) -> list[Question]:
        """Return docs as of `read_questions`, without answers. Raises: ResultsError as there."""
        versions = {one.docs_id: _version(results.docs_path(one.docs_id)) for one, _ in wanted}
        # Docs with choices are the same in every series.
        keys = [None if one.text else (one.docs_id, versions[one.docs_id], doc) for one, doc in wanted]
        with self._lock:
            kept = [self._docs.get(key) if key else None for key in keys]
        lacking = [place for place, known in enumerate(kept) if known is None]
        if lacking:
            read = read_questions(results, [wanted[place] for place in lacking], answers=False)
            self._keep({key: doc for place, doc in zip(lacking, read, strict=True) if (key := keys[place])})
            rest = iter(read)
        return [known or next(rest) for known in kept]

    def _keep(self, docs: Mapping[_DocKey, Question]) -> None:
        with self._lock:
            for key, doc in docs.items():
                if key not in self._docs:
                    self._docs[key] = doc
                    self._doc_characters += doc.n_characters
            while self._doc_characters > MOST_DOC_CHARACTERS:
                self._doc_characters -= self._docs.popitem(last=False)[1].n_characters

    def having(
        self, results: ResultsFolder, histories: Sequence[PickHistory], words: str
    ) -> list[npt.NDArray[np.bool_]]:
        """Return by task [D] whether each of the words stands in a doc; docs of damaged records have none."""
        import numpy as np

        found = []
        for history in histories:
            texts = self._texts_of(results, history.docs_id)
            docs = texts.having(words) if texts is not None else np.zeros(0, np.int64)
            found.append(np.isin(history.doc_id, docs))
        return found

    @property
    def has_texts(self) -> bool:
        """True if texts of docs are in memory."""
        return bool(self._texts)

    def prepare(self, results: ResultsFolder, histories: Sequence[PickHistory]) -> None:
        """Read the texts of docs before somebody searches in them."""
        for history in histories:
            self._texts_of(results, history.docs_id)

    def _texts_of(self, results: ResultsFolder, docs_id: str) -> DocTexts | None:
        with self._lock:
            if docs_id in self._texts:
                self._texts.move_to_end(docs_id)
                return self._texts[docs_id]
        try:
            texts = read_doc_texts(results, docs_id)
        except ResultsError:
            return None
        with self._lock:
            self._texts[docs_id] = texts
            self._text_bytes += texts.n_bytes
            while self._text_bytes > MOST_TEXT_BYTES:
                self._text_bytes -= self._texts.popitem(last=False)[1].n_bytes
        return texts


def _version(path: Path) -> file_state.Version | None:
    try:
        return file_state.version_of(path)
    except OSError:
        return None
