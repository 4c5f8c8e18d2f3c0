"""Engines and generators: all forward passes, from token sequences to log-likelihoods or texts."""

from milepost.engine.engine import Engine, EngineName, build_engine
from milepost.engine.generate.generator import Generator, build_generator
from milepost.engine.optimizations import Optimizations

__all__ = ["Engine", "EngineName", "Generator", "Optimizations", "build_engine", "build_generator"]
