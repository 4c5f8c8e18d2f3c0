"""Read pickles without running their code: every class and function comes from an allow-list.

A pickle can name any function and have it called. Here a name is looked up and never imported; an allowed
class becomes a `StandIn`, which keeps its arguments and does nothing.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from typing import Any, BinaryIO


class ForbiddenName(Exception):
    """The pickle names a class or function that is not allowed; the text is its full name."""


class StandIn:
    """Replacement for an object in a pickle: keeps its arguments and state, and does nothing."""

    qualified_name = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any, **named: Any) -> StandIn:
        self = object.__new__(cls)
        self.arguments = arguments
        self.state = None
        return self

    def __init__(self, *arguments: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the object by name; empty if its state is not a dict."""
        return dict(self.state) if isinstance(self.state, dict) else {}


class SafeUnpickler(pickle._Unpickler):
    """Unpickler that knows only the given names.

    It is Python's own unpickler written in Python (4 MB/s): its memo is a dict, while the one in C allocates
    as much memory as an index in a hostile pickle asks for. Each unpickler has stand-in classes of its own,
    so that nothing a pickle does to a class outlives it.

    Args:
        known: full name (`torch.Size`) to the object that the pickle gets.
        allowed: full names of classes that become `StandIn`s.
    """

    def __init__(self, file: BinaryIO, known: Mapping[str, Any], allowed: Collection[str] = ()) -> None:
        super().__init__(file)
        self._known = dict(known)
        self._allowed = frozenset(allowed)

    def find_class(self, module: str, name: str) -> Any:
        """Return the object for a name in the pickle.

        Raises:
            ForbiddenName: the name is neither known nor allowed.
        """
        full_name = f"{module}.{name}"
        if full_name not in self._known:
            if full_name not in self._allowed:
                raise ForbiddenName(full_name)
            self._known[full_name] = type(name, (StandIn,), {"qualified_name": full_name})
        return self._known[full_name]
