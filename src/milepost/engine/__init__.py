"""The only place with forward passes: token sequences in, log-likelihoods out. Knows no strings."""

from milepost.engine.base import Engine, EngineName, build_engine

__all__ = ["Engine", "EngineName", "build_engine"]
