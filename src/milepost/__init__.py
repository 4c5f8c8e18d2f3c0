"""Milepost measures every checkpoint of a language model."""

from milepost.version import __version__

__all__ = ["__version__"]
