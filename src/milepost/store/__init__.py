"""Records on disk: one folder, safe to copy; a file that is there is whole and never changed.

docs/store.md describes the layout. Knows nothing of models or tasks: identifiers, numbers and JSON only.
"""

from milepost.store.folder import ResultsFolder, open_results
from milepost.store.reading import read_measurements, read_settings, scored_checkpoints

__all__ = ["ResultsFolder", "open_results", "read_measurements", "read_settings", "scored_checkpoints"]
