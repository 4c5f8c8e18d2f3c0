"""The only place with forward passes: token sequences in, log-likelihoods out. Knows no strings."""

from milepost.engine.base import Engine, EngineName, build_engine
from milepost.engine.switches import Switches

__all__ = ["Engine", "EngineName", "Switches", "build_engine"]
