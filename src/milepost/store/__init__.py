"""Records on disk: one folder, safe to copy; a file that is there is whole and never changed.

`layout` says where each record lies, `records` and `metrics_record` what it holds, `index` which of them are
current; docs/store.md describes it all. Knows nothing of models or tasks: identifiers, numbers and JSON only.
"""

from milepost.store.folder import ResultsFolder, open_folder
from milepost.store.index import ResultsIndex

__all__ = ["ResultsFolder", "ResultsIndex", "open_folder"]
