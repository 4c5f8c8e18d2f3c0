"""The one model in memory, into which each checkpoint is copied.

Building a module costs seconds and, compiled, minutes; copying costs as much as memory bandwidth. Tensors are
copied by name if transformers loads each of them unchanged; if it converts them (fuses experts, permutes,
renames), it converts each checkpoint in a second module, which is then copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.core_model_loading import WeightRenaming

from milepost.errors import CheckpointError
from milepost.text.messages import shown
from milepost.weights.checkpoint_weights import CheckpointWeights
from milepost.weights.config import context_length
from milepost.weights.module import load_module

_NOT_THE_MODEL = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"})


class LiveModel:
    """A causal language model whose weights are replaced in place."""

    def __init__(
        self,
        module: PreTrainedModel,
        weights: CheckpointWeights,
        *,
        dtype: str,
        direct: dict[str, str] | None,
    ) -> None:
        self.module = module
        """In eval mode, without gradients; the same object for every checkpoint."""
        self.config = module.config
        self._dtype = dtype
        self._direct = direct
        """Tensor name in the file to name in the module; None if transformers converts."""
        self._shapes = _shapes(weights)
        self._floating = {n for n, tensor in weights.tensors.items() if tensor.is_floating_point()}
        self._config = _model_settings(weights)
        self._auto_dtype = auto_dtype(weights)

    @classmethod
    def build(
        cls, weights: CheckpointWeights, *, dtype: str = "auto", device: str = "cpu", is_spread: bool = False
    ) -> LiveModel:
        """Make the module with its first weights.

        Args:
            dtype: `auto`, `float32`, `float16` or `bfloat16`.
            device: a torch device.
            is_spread: whether to spread the module over all GPUs that this process sees.

        Raises:
            CheckpointError: the weights do not fit the config.
        """
        module = load_module(weights, dtype)
        direct = _direct_names(module, weights)
        if is_spread:
            from milepost.weights.device_map import spread

            return cls(spread(module, device), weights, dtype=dtype, direct=direct)
        return cls(module.to(device), weights, dtype=dtype, direct=direct)

    @property
    def vocab_size(self) -> int:
        """Rows of the input embedding; token ids must be below."""
        return int(self.module.get_input_embeddings().weight.shape[0])

    @property
    def n_parameters(self) -> int:
        """Parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def max_length(self, tokenizer: PreTrainedTokenizerBase | None) -> int:
        """Context length in tokens, by lm_eval's rule."""
        return context_length(self.config, tokenizer).tokens

    def accepts(self, weights: CheckpointWeights) -> str | None:
        """Return why these weights cannot be copied into this module; None if they can."""
        config = _model_settings(weights)
        for key in sorted(config.keys() | self._config.keys()):
            if config.get(key) != self._config.get(key):
                return f"its config has another {shown(key)}"
        if self._dtype == "auto" and auto_dtype(weights) != self._auto_dtype:
            return f"its dtype is {auto_dtype(weights)}, not {self._auto_dtype}"
        shapes = _shapes(weights)
        for name in sorted(shapes.keys() ^ self._shapes.keys()):
            return f"{shown(name)} is in only one of the two checkpoints"
        for name, shape in shapes.items():
            if shape != self._shapes[name]:
                return f"{shown(name)} has the shape {list(shape)}, not {list(self._shapes[name])}"
            if weights.tensors[name].is_floating_point() != (name in self._floating):
                return f"{shown(name)} is {weights.tensors[name].dtype}"
        return self._tie_problem(weights)

    def direct_tensors(self, weights: CheckpointWeights) -> dict[str, tuple[torch.Tensor, torch.dtype]]:
        """Return (tensor, target dtype) by the module's names; empty if transformers has to convert the
        tensors.
        """
        target = self.module.state_dict()
        names = (self._direct or {}).items()
        return {own: (weights.tensors[name], target[own].dtype) for name, own in names}

    def copy_from(self, weights: CheckpointWeights, staged: Mapping[str, torch.Tensor] | None = None) -> None:
        """Replace all weights; the module then computes the same as a freshly loaded one.

        Args:
            staged: the same as `direct_tensors`, already cast and on the module's device.

        Raises:
            CheckpointError: the weights are not accepted; the module is unchanged.
        """
        reason = self.accepts(weights)
        if reason is not None:
            raise CheckpointError(f"{shown(weights.folder)}: {reason}")
        source: Mapping[str, torch.Tensor]
        if staged is not None:
            source = staged
        elif self._direct is not None:
            source = {self._direct[name]: weights.tensors[name] for name in self._direct}
        else:
            source = load_module(weights, self._dtype).state_dict()
        target = self.module.state_dict()
        with torch.no_grad():
            for name, tensor in source.items():
                # In the file's dtype: it is cast on the device, so that no copy to a GPU waits for another.
                target[name].copy_(tensor.to(target[name].device, non_blocking=True))
        if self.module.device.type == "cuda":  # the caller frees the source now
            torch.cuda.current_stream(self.module.device).synchronize()

    def _tie_problem(self, weights: CheckpointWeights) -> str | None:
        """Return a problem if tied weights differ: transformers ties stored weights only if equal."""
        if self._direct is None:
            return None
        target = self.module.state_dict()
        first: dict[int, str] = {}
        for name, own in self._direct.items():
            twin = first.setdefault(target[own].data_ptr(), name)
            if twin != name and not torch.equal(weights.tensors[twin], weights.tensors[name]):
                return f"{shown(twin)} and {shown(name)}, tied so far, now differ"
        return None


def auto_dtype(weights: CheckpointWeights) -> str:
    """Return the dtype of `--dtype auto`: the config's, or that of the first float tensor."""
    named = getattr(weights.config, "dtype", None)
    if named is None:
        floats = (tensor.dtype for tensor in weights.tensors.values() if tensor.is_floating_point())
        named = next(floats, torch.float32)
    return str(named).removeprefix("torch.")


def _direct_names(module: PreTrainedModel, weights: CheckpointWeights) -> dict[str, str] | None:
    """Map each tensor of the files to its tensor in the module; None if loading needs more than copying.

    Names are used only if the loaded values agree too, every part of the module is covered, and transformers
    reports no conversion.
    """
    renamings = list(getattr(module, "_weight_conversions", None) or ())
    if not all(isinstance(step, WeightRenaming) for step in renamings):
        return None
    target = module.state_dict()
    direct = {}
    for name, tensor in weights.tensors.items():
        own = _name_in(target, name, renamings, f"{module.base_model_prefix}.")
        if own is None:
            continue  # `load_module` has checked that it may be left out
        if target[own].shape != tensor.shape or not _is_same(target[own], tensor):
            return None
        direct[name] = own
    covered = {target[own].data_ptr() for own in direct.values()}
    if any(tensor.data_ptr() not in covered for tensor in target.values() if tensor.numel()):
        return None
    return direct


def _name_in(
    target: Mapping[str, torch.Tensor], name: str, renamings: Sequence[WeightRenaming], prefix: str
) -> str | None:
    """Return the module's name for a tensor: renamed by transformers, with or without the body's prefix."""
    renamed = name
    for step in renamings:
        renamed, _ = step.rename_source_key(renamed)
    candidates = [
        candidate
        for base in (renamed, name)
        for candidate in (base, prefix + base, base.removeprefix(prefix))
    ]
    return next((candidate for candidate in candidates if candidate in target), None)


def _is_same(own: torch.Tensor, other: torch.Tensor) -> bool:
    """Return True if the values are equal after rounding to the module's dtype; NaN equals NaN."""
    rounded = other.to(own.dtype)
    if rounded.is_floating_point():
        return bool(torch.allclose(own, rounded, rtol=0, atol=0, equal_nan=True))
    return torch.equal(own, rounded)


def _shapes(weights: CheckpointWeights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}


def _model_settings(weights: CheckpointWeights) -> dict[str, Any]:
    """Return the config entries that change the computation."""
    settings: dict[str, Any] = _without(weights.config.to_dict(), _NOT_THE_MODEL)
    return settings


def _without(value: Any, left_out: frozenset[str]) -> Any:
    """Return the value without these keys, also in nested configs."""
    if not isinstance(value, dict):
        return value
    return {key: _without(inner, left_out) for key, inner in value.items() if key not in left_out}
