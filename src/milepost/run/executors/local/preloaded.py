"""Imported by the server that workers are forked from, so that what every worker needs is imported once.

Nothing here starts a thread or touches a GPU: what is forked afterwards must not have either.
"""

import pandas
import pyarrow.parquet

import milepost.engine.build
import milepost.engine.generate.build
import milepost.run.executors.worker
import milepost.weights

__all__ = ["milepost", "pandas", "pyarrow"]
