"""The lock for everything that changes process-wide state of transformers and torch.

While `from_pretrained` makes a module, the default dtype, functions of `torch.nn.init` and
`PreTrainedModel.tie_weights` are replaced for every thread; peft seeds the random numbers and Python's
warning filters; `quiet` sets transformers' log level. Two threads that do so at once leave each other's
settings behind, and a forward pass beside them computes in the wrong dtype. So modules are made in the main
thread, which also runs the forward passes; what reads ahead in the background only reads files. The lock
keeps apart what still meets: the skeleton of a DCP checkpoint, which the background needs to read it.
"""

from __future__ import annotations

import threading

PROCESS_STATE = threading.RLock()
"""Hold it while a module is made, an adapter is merged, or transformers' log level is set."""
