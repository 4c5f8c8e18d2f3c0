"""Imported by the server that workers are forked from, so that torch and transformers are imported once.

Nothing here starts a thread or touches a GPU: what is forked afterwards must not have either.
"""

import milepost.engine
import milepost.run.executors.worker
import milepost.weights

__all__ = ["milepost"]
