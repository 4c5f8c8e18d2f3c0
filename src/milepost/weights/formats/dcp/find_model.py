"""Find the model's entries in a DCP checkpoint, and the weight of each entry.

Trainers save a model under various prefixes (`model.`, `app.model.`), beside an optimizer whose entries
repeat the names of the weights. So weights are found by the ends of their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from milepost.errors import CheckpointError
from milepost.text.messages import shown, some

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of a name that torch.compile, FSDP and activation checkpointing add."""


def find_model(where: str, names: Iterable[str], expected: Collection[str]) -> dict[str, str]:
    """Return name to full name of each weight, of the weights under the prefix that has most of them.

    Args:
        where: the checkpoint, for messages.
        expected: names of a model's weights, by which the prefix is found.

    Raises:
        CheckpointError: there are no such weights, or two parts of the checkpoint could be the model.
    """
    plain = {_without_wrappers(name): name for name in names}
    found = Counter(prefix for name in plain for prefix in _prefixes(name, expected) if not _is_state(prefix))
    if not found:
        raise CheckpointError(
            f"{where} has none of the weights that its config needs, such as {some(expected, 1)}; "
            f"it holds {some(plain)}",
            "give the config of this model with --config FILE",
        )
    prefix = _model_prefix(where, found)
    if prefix:
        return {name[len(prefix) :]: full for name, full in plain.items() if name.startswith(prefix)}
    heads = {name.split(".")[0] for name in expected}
    return {name: full for name, full in plain.items() if name.split(".")[0] in heads}


def _model_prefix(where: str, found: Counter[str]) -> str:
    """Return the prefix of most weights; a moving average counts only if there is nothing else."""
    most = max(found.values())
    best = sorted((prefix for prefix, n in found.items() if n == most), key=len)
    prefix, *others = [prefix for prefix in best if not _is_average(prefix)] or best
    if rivals := [other for other in others if not other.startswith(prefix)]:
        raise CheckpointError(
            f"{where} has two models: under {shown(prefix) or 'no prefix'} and under {shown(rivals[0])}"
        )
    return prefix


def _prefixes(name: str, expected: Collection[str]) -> Iterable[str]:
    parts = name.split(".")
    for i in range(len(parts)):
        if ".".join(parts[i:]) in expected:
            yield "".join(f"{part}." for part in parts[:i])


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _is_state(prefix: str) -> bool:
    return any(part.startswith("optim") for part in prefix.split("."))


def _is_average(prefix: str) -> bool:
    return any("ema" in part.lower().split("_") for part in prefix.split("."))
