"""Read a checkpoint's `config.json` with transformers and check it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from milepost.errors import CheckpointError
from milepost.sources.config_file import read_config_file
from milepost.sources.formats.format import CONFIG
from milepost.sources.local_folder import find_config
from milepost.text.language import Phrase
from milepost.text.messages import first_line, shown
from milepost.weights.formats import reader_of
from milepost.weights.formats.dcp.torchtitan import are_torchtitan_arguments, as_llama_config
from milepost.weights.meta_model import class_for

logger = logging.getLogger("milepost.weights")

_LENGTH_ATTRIBUTES = ("n_positions", "max_position_embeddings", "n_ctx")
_TOKENIZER_INFINITY = 1000000000000000019884624838656
"""Value of `model_max_length` in a tokenizer without a limit (lm_eval/models/utils.py, TOKENIZER_INFINITY).
"""
_DEFAULT_LENGTH = 2048
_LONGEST = 2**31 - 1
_MOST_PARTS = 10_000
_COUNTED = re.compile(r"layer|expert|label|attention_types|n_blocks|num_blocks|block_types")
"""Parts of the names of entries that count objects which transformers creates."""
_CAUSAL_MARKS = ("CausalLM", "LMHead", "ForConditionalGeneration")
_OTHER_TASK = re.compile(r"For[A-Z]|Encoder|Vision|Classifi|Reward")
"""Parts of the names of classes that are not causal language models."""


@dataclass(frozen=True, slots=True)
class ContextLength:
    """The number of tokens that a model sees at once."""

    tokens: int
    source: str
    """Source of the number: `config.max_position_embeddings`, `tokenizer.model_max_length` or `default`."""


def read_config(folder: Path, format: str = "", override: Path | None = None) -> PretrainedConfig:
    """Return the config of a checkpoint: `override`, its own, or the one in the folder above.

    The config of a Megatron-LM checkpoint is derived from its args.

    Args:
        format: as in `Checkpoint.format`.
        override: a file in place of the checkpoint's: transformers' `config.json` or torchtitan's arguments.

    Raises:
        CheckpointError: there is no config, it does not parse, it is not for a causal language model, it
            needs code of its own, or the weights are quantized.
    """
    reader = reader_of(format)
    if reader is not None and reader.config is not None:
        if override is not None:
            raise CheckpointError(
                Phrase("{folder}: its config comes from its args, not from --config", folder=shown(folder)),
                "leave --config out",
            )
        return reader.config(folder)
    path = override or find_config(folder)
    if path is None:
        raise CheckpointError(
            Phrase("{folder} has no config.json", folder=shown(folder)), "give one with --config FILE"
        )
    name = shown(path)
    raw = read_config_file(path)
    is_titan = are_torchtitan_arguments(raw)
    if is_titan:
        raw = as_llama_config(name, raw)
    _check_kind(name, raw)
    _check_counts(name, raw)
    try:
        config = AutoConfig.for_model(**raw) if is_titan else _load(path)
    except Exception as error:  # each config class raises other errors for wrong values
        raise CheckpointError(
            Phrase("{name} is not accepted by transformers: {error}", name=name, error=first_line(error)),
            "correct that entry of the file",
        ) from error
    _note_own_class(name, config, raw)
    config._attn_implementation = None  # the engine chooses its own
    return config


def _load(path: Path) -> PretrainedConfig:
    place = path.parent if path.name == CONFIG else path
    return AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)


def context_length(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase | None) -> ContextLength:
    """Return the model's context, by lm_eval's rule (lm_eval/models/utils.py, resolve_max_length).

    In order: the text part of a composite config, the config, the tokenizer, 2048.

    Raises:
        CheckpointError: the value is not a number of tokens.
    """
    text_config = getattr(config, "text_config", None) or config
    for attribute in _LENGTH_ATTRIBUTES:
        value = getattr(text_config, attribute, None)
        if value is not None:
            return _length(value, f"config.{attribute}")
    limit = getattr(tokenizer, "model_max_length", None)
    if limit is not None and limit != _TOKENIZER_INFINITY:
        return _length(limit, "tokenizer.model_max_length")
    return ContextLength(_DEFAULT_LENGTH, "default")


def _length(value: Any, source: str) -> ContextLength:
    if not isinstance(value, (int, float)) or not 1 <= value <= _LONGEST:
        raise CheckpointError(
            Phrase(
                "{source} is {value}, which is not a number of tokens",
                source=source,
                value=shown(repr(value)),
            )
        )
    return ContextLength(int(value), source)


def _check_kind(name: str, raw: dict[str, Any]) -> None:
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING_NAMES:
        if raw.get("auto_map"):
            raise CheckpointError(
                Phrase("{name} asks for code of its own (auto_map), which is never run", name=name),
                "convert the checkpoint to an architecture that transformers has",
            )
        raise CheckpointError(
            Phrase(
                "{name} has a model_type that transformers does not know: {model_type}",
                name=name,
                model_type=shown(model_type),
            ),
            "a newer transformers may know it",
        )
    architectures = raw.get("architectures") or []
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    if causal is None or not _is_causal(architectures, model_type, causal):
        what = shown(
            str(architectures[0] if isinstance(architectures, list) and architectures else model_type)
        )
        raise CheckpointError(
            Phrase("{name} is not for a causal language model: {what}", name=name, what=what),
            "only models that predict the next token can be evaluated",
        )
    if kernel := _foreign_kernel(raw):
        raise CheckpointError(
            Phrase(
                "{name} asks for code from the Hub ({kernel}), which is never run", name=name, kernel=kernel
            ),
            "remove that entry from it",
        )
    if raw.get("quantization_config"):
        raise CheckpointError(
            Phrase("{name}: quantized weights cannot be read yet", name=name),
            "give the checkpoint before it was quantized",
        )


def _check_counts(name: str, raw: Any, key: str = "") -> None:
    """Check that the config does not count more layers, experts or labels than any model has.

    transformers makes a module, or an entry of a list, for each of them.
    """
    if isinstance(raw, dict):
        for inner, value in raw.items():
            _check_counts(name, value, inner)
    elif isinstance(raw, list):
        for value in raw if _COUNTED.search(key) else ():
            _check_counts(name, value, key)
    elif isinstance(raw, (int, float)) and _COUNTED.search(key) and raw > _MOST_PARTS:
        raise CheckpointError(
            Phrase("{name}: {key} is {raw}, which is implausibly large", name=name, key=shown(key), raw=raw),
            "correct that entry of the file",
        )


def _foreign_kernel(raw: Any) -> str | None:
    """Return an attention implementation that is a repository, which transformers would download and run."""
    if not isinstance(raw, dict):
        return None
    for key, value in raw.items():
        named = "implementation" in key and "/" in str(value)
        if named or (key == "kernel_config" and value):
            return shown(f"{key}: {value}")
        if inner := _foreign_kernel(value):
            return inner
    return None


def _is_causal(architectures: Any, model_type: str, causal: str | tuple[str, ...]) -> bool:
    """Return True if the class that wrote the checkpoint is a causal language model or its bare body.

    The bare body (`GPT2Model`) is enough if its head is tied; otherwise the missing head is found later. A
    class that transformers does not have (`LlamaWithAuxLoss`) counts as the config's model type, unless its
    name shows another purpose.
    """
    if not isinstance(architectures, list):
        return False
    known = _classes(model_type, causal)
    return not architectures or any(
        name in known or any(mark in name for mark in _CAUSAL_MARKS) or not _OTHER_TASK.search(name)
        for name in map(str, architectures)
    )


def _classes(model_type: str, causal: str | tuple[str, ...]) -> set[str]:
    """Return the names of transformers' classes for causal language models of this type and their body."""
    body = MODEL_MAPPING_NAMES.get(model_type)
    found = {causal} if isinstance(causal, str) else set(causal)
    return found | ({body} if isinstance(body, str) else set(body or ()))


def _note_own_class(name: str, config: PretrainedConfig, raw: dict[str, Any]) -> None:
    """Warn if the checkpoint was written by a class that transformers does not have."""
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[raw["model_type"]]
    written = [str(name) for name in raw.get("architectures") or []]
    if written and not _classes(raw["model_type"], causal) & set(written):
        logger.warning(
            "%s names the class %s, which is not run; it is read as %s",
            name,
            shown(written[0]),
            class_for(config).__name__,
        )
