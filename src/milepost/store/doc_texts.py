"""Read the texts of a task's docs, to search in them: what the data set says, without the names of fields."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from milepost.files.arrow import as_array
from milepost.store.folder import ResultsFolder
from milepost.store.tables import read_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

NAME_OF_A_FIELD = r'"(?:[^"\\]|\\.)*"\s*:'


@dataclass(frozen=True, slots=True)
class DocTexts:
    """The texts of the docs of a task, in lower case."""

    doc_id: npt.NDArray[np.int64]
    """[D] positions in the evaluation split."""
    texts: pa.ChunkedArray
    """[D] the doc as JSON, without the names of its fields."""

    @property
    def n_bytes(self) -> int:
        """The memory that the texts take."""
        return int(self.texts.nbytes + self.doc_id.nbytes)

    def having(self, words: str) -> npt.NDArray[np.int64]:
        """Return the docs in which each of the words stands, be it as a part of a longer word."""
        import numpy as np

        mask = np.ones(len(self.doc_id), dtype=bool)
        for word in words.lower().split():
            # JSON is written with or without characters that are not ASCII.
            forms = {json.dumps(word, ensure_ascii=ascii)[1:-1] for ascii in (False, True)}
            mask &= np.logical_or.reduce([self._has(form) for form in forms])
        return self.doc_id[mask]

    def _has(self, text: str) -> Any:
        import pyarrow.compute as pc

        return as_array(pc.match_substring(self.texts, text))


def read_doc_texts(results: ResultsFolder, docs_id: str) -> DocTexts:
    """Return the texts of the docs of a task.

    Raises:
        ResultsError: the record is missing or damaged.
    """
    import pyarrow.compute as pc

    table = read_table(results.docs_path(docs_id), ("doc_id", "doc"))
    texts = pc.utf8_lower(pc.replace_substring_regex(table["doc"], NAME_OF_A_FIELD, ""))
    return DocTexts(as_array(table["doc_id"]), texts)
