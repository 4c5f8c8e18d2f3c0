"""The lock for everything that changes process-wide state of transformers and torch.

While `from_pretrained` makes a module, the default dtype, functions of `torch.nn.init` and
`PreTrainedModel.tie_weights` are replaced for every thread; peft seeds the random numbers and Python's
warning filters; `quiet` sets transformers' log level. Two threads that do so at once restore the wrong
settings, and a forward pass beside them computes in the wrong dtype. So modules are made in the main thread,
which also runs the forward passes; background threads only read files. The lock is for the exception: the
module on the meta device that a DCP checkpoint needs to be read.
"""

from __future__ import annotations

import threading

PROCESS_STATE = threading.RLock()
"""Hold it to make a module, to merge an adapter, or to set transformers' log level."""
