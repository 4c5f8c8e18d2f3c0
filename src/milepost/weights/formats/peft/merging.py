"""Merge an adapter into its base in memory, with peft.

The base stays unchanged: each adapter gets a module of its own that shares the base's memory, and peft puts
new tensors in place of the changed ones. Weights that the base ties (input and output embedding) are untied
first: peft's forward pass adds the adapter only to the weight that it wraps, while merging into a tied weight
would change both.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from milepost.errors import CheckpointError
from milepost.text.messages import first_line, shown, some
from milepost.weights.adapter import Adapter
from milepost.weights.checkpoint_weights import CheckpointWeights
from milepost.weights.formats.peft.patterns import endless_pattern
from milepost.weights.formats.peft.reader import MERGED_ANEW
from milepost.weights.formats.peft.vocabulary import embedding_names, rows_in
from milepost.weights.meta_model import quiet
from milepost.weights.odd_tensors import odd_tensors

if TYPE_CHECKING:
    from peft import PeftModel

_ADAPTER = "default"


def merged(weights: CheckpointWeights) -> CheckpointWeights:
    """Merge the adapter of a checkpoint, in float32; return checkpoints without an adapter unchanged.

    The result has the module's names. Weights that the adapter does not change share the base's memory. Only
    the thread that makes modules may call it.

    Raises:
        CheckpointError: the adapter cannot be merged or does not fit the base.
    """
    adapter = weights.adapter
    if adapter is None:
        return weights
    with quiet(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft draws random numbers and warns those who train; a misfit is an error here
        warnings.simplefilter("ignore")
        adapted = _adapted(adapter, weights.tensors)
        _untie(adapted, clone=adapter.settings["peft_type"] not in MERGED_ANEW)
        try:
            _merge_inner_tokens(adapted)
            module = adapted.merge_and_unload(safe_merge=True)
        except Exception as error:  # each kind of adapter raises other errors for a misfit; NaN is one reason
            _check_rows(adapter, dict(adapted.named_parameters(remove_duplicate=False)))
            raise _misfit(adapter, f"cannot be merged: {first_line(error)}") from error
    tensors = _without_ties(module)
    _check_rows(adapter, tensors)
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    return replace(
        weights,
        config=_config_of(adapter.base.config, module),
        tensors=tensors,
        file_of=dict.fromkeys(tensors, adapter.file.name),
        n_bytes=n_bytes,
        warnings=(*weights.warnings, *odd_tensors(tensors)),
        adapter=None,
    )


def _adapted(adapter: Adapter, tensors: dict[str, torch.Tensor]) -> PeftModel:
    """Return peft's model: the base with the adapter beside its weights."""
    from peft import PeftConfig, PeftModel, set_peft_model_state_dict

    settings = adapter.settings
    module = _sharing(adapter.base.module, clone=settings["peft_type"] not in MERGED_ANEW)
    if key := endless_pattern(settings, (name for name, _ in module.named_modules())):
        raise _misfit(adapter, f"has a regular expression that does not terminate ({key})")
    try:
        _resize(module, tensors, settings)
        adapted = PeftModel(module, PeftConfig.from_peft_type(**settings))
        _copy_replaced(adapted, tensors)
        outcome = set_peft_model_state_dict(adapted, tensors, _ADAPTER)
    except Exception as error:  # as above
        raise _misfit(adapter, f"does not fit its base: {first_line(error)}") from error
    wanted = {name for name in adapted.state_dict() if _ADAPTER in name.split(".")}
    if strange := _without_copies(outcome.unexpected_keys, tensors):
        raise _misfit(adapter, f"has weights that its base has no place for: {some(strange)}")
    if lost := (wanted & set(outcome.missing_keys)) - _tied_to_others(adapted):
        raise _misfit(adapter, f"lacks weights that its config needs: {some(lost)}")
    return adapted


def _resize(
    module: PreTrainedModel, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any]
) -> None:
    """Resize the embeddings to the rows with which the adapter was trained.

    New rows are NaN until the adapter's file fills them, so that missing rows are noticed.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    n_before = int(module.get_input_embeddings().weight.shape[0])
    n_rows = rows_in(shapes, settings, embedding_names(module), n_before)
    if n_rows == n_before:
        return
    module.resize_token_embeddings(n_rows, mean_resizing=False)
    for embedding in (module.get_input_embeddings(), module.get_output_embeddings()):
        if embedding is not None:
            embedding.weight.data[n_before:] = math.nan
            if getattr(embedding, "bias", None) is not None:
                embedding.bias.data[n_before:] = math.nan
    module.requires_grad_(False)


def _copy_replaced(adapted: PeftModel, tensors: Iterable[str]) -> None:
    """Copy the base's weights that the adapter's file replaces, because peft writes in place."""
    known = set(tensors)
    for name, parameter in (*adapted.named_parameters(remove_duplicate=False), *adapted.named_buffers()):
        if name in known:
            parameter.data = parameter.data.clone()


def _without_copies(unexpected: Iterable[str], tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return names that peft did not use, except second copies: it saves some weights under two names."""
    strange = []
    for name in unexpected:
        own = tensors.get(name)
        others = (tensor for key, tensor in tensors.items() if key != name)
        if own is None or not any(own.shape == other.shape and torch.equal(own, other) for other in others):
            strange.append(name)
    return strange


def _tied_to_others(adapted: PeftModel) -> set[str]:
    """Return the state's names of parts that share another part's weights, which a file has only once."""
    seen: set[tuple[int, int]] = set()
    tied = set()
    for name, tensor in adapted.state_dict().items():
        place = (tensor.untyped_storage().data_ptr(), tensor.numel())
        if place in seen:
            tied.add(name)
        seen.add(place)
    return tied


def _merge_inner_tokens(adapted: PeftModel) -> None:
    """Merge trained tokens inside a LoRA layer, which peft's own merging loses (0.21)."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import TrainableTokensWrapper

    for module in list(adapted.modules()):
        inner = getattr(module, "base_layer", None)
        if isinstance(module, BaseTunerLayer) and isinstance(inner, TrainableTokensWrapper):
            inner.token_adapter.merge(safe_merge=True)
            module.base_layer = inner.token_adapter.base_layer


def _untie(adapted: torch.nn.Module, *, clone: bool) -> None:
    """Give every module its own parameters, over the same memory or over a copy."""
    seen: set[int] = set()
    for module in adapted.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) in seen:
                data = parameter.data.clone() if clone else parameter.data
                module._parameters[name] = torch.nn.Parameter(data, requires_grad=False)
            seen.add(id(parameter))


def _sharing(module: PreTrainedModel, *, clone: bool) -> PreTrainedModel:
    """Return a module of the same structure, whose parameters share the memory or have a copy of it."""
    memo: dict[int, Any] = {}
    for part in (*module.parameters(), *module.buffers()):
        data = part.data.clone() if clone else part.data
        is_parameter = isinstance(part, torch.nn.Parameter)
        memo[id(part)] = torch.nn.Parameter(data, requires_grad=False) if is_parameter else data
    return copy.deepcopy(module, memo)


def _without_ties(module: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the tensors of the module's state, without an output embedding that is still the input's."""
    tensors: dict[str, torch.Tensor] = module.state_dict()
    embedding, output = module.get_input_embeddings(), module.get_output_embeddings()
    if output is None or output.weight.data_ptr() != embedding.weight.data_ptr():
        return dict(tensors)
    (head,) = (name for name, part in module.named_modules() if part is output)
    return {name: tensor for name, tensor in tensors.items() if name != f"{head}.weight"}


def _check_rows(adapter: Adapter, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that an adapter that adds tokens to the vocabulary has their rows."""
    n_before = int(adapter.base.module.get_input_embeddings().weight.shape[0])
    own = {tuple(tensor.shape) for tensor in adapter.base.module.parameters()}
    for name, tensor in tensors.items():
        before = (n_before, *tensor.shape[1:])
        if tensor.shape[:1] <= (n_before,) or before not in own or torch.isfinite(tensor[n_before:]).all():
            continue
        raise _misfit(
            adapter,
            f"adds {len(tensor) - n_before} tokens to the base's {n_before} and lacks rows of {shown(name)}",
            "save it with save_embedding_layers=True, or with the embeddings in modules_to_save",
        )


def _config_of(base: PretrainedConfig, module: PreTrainedModel) -> PretrainedConfig:
    """Return the base's config with the changes that the merged module needs."""
    config = copy.deepcopy(base)
    text = config.get_text_config()
    text.vocab_size = int(module.get_input_embeddings().weight.shape[0])
    layers = getattr(module.config.get_text_config(), "num_hidden_layers", None)
    if layers is not None and layers != getattr(text, "num_hidden_layers", None):
        text.num_hidden_layers = layers
    output = module.get_output_embeddings()
    if output is not None and output.weight.data_ptr() != module.get_input_embeddings().weight.data_ptr():
        for part in (config, text):
            part.tie_word_embeddings = False
    return config


def _misfit(adapter: Adapter, what: str, hint: str | None = None) -> CheckpointError:
    return CheckpointError(f"{shown(adapter.file)} {what}", hint)
