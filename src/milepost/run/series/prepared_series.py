"""Read what the checkpoints of a series share: tokenizer, context length, shape. Others are refused."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from milepost.errors import CheckpointError, SourceError, TokenizerError
from milepost.run.config import EvalConfig
from milepost.run.series.chat import choose_chat_template
from milepost.sources import fetch, fetch_config
from milepost.tasks.question_source import ModelTraits
from milepost.text.language import Phrase
from milepost.types.checkpoints import Checkpoint, Series, step_order
from milepost.types.generation import GenerationDefaults

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from milepost.plan.plan import Plan

logger = logging.getLogger("milepost.run")

Key = TypeVar("Key", bound=Hashable)

PlanKey = tuple[str, int, GenerationDefaults]
"""Tokenizer, context length, and how texts end: what a plan depends on besides the tasks."""

SHAPE = (
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "n_embd",
    "intermediate_size",
    "n_inner",
    "num_hidden_layers",
    "n_layer",
    "num_attention_heads",
    "n_head",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "n_positions",
)
"""Config entries that must agree within a series, for its checkpoints to be steps of one run."""


@dataclass(frozen=True, slots=True)
class PreparedSeries:
    """A series whose checkpoints can be scored on the same tasks by the same module."""

    name: str
    checkpoints: tuple[Checkpoint, ...]
    refused: tuple[tuple[Checkpoint, str], ...]
    tokenizer_folder: Path
    load_tokenizer: Callable[[], Any]
    """Return the tokenizer, the same object each time."""
    tokenizer_id: str
    max_length: int
    vocab_size: int
    generations: Mapping[Checkpoint, GenerationDefaults]
    """Generation settings of each checkpoint's own files; those of a final chat model may differ."""
    dtypes: Mapping[Checkpoint, str]
    """The meaning of `--dtype auto` for each: the dtype of its config, else `auto` (that of its weights)."""

    def dtype_of(self, checkpoint: Checkpoint, asked: str) -> str:
        """Return the dtype to compute a checkpoint in, for the given `--dtype`."""
        return asked if asked != "auto" else self.dtypes[checkpoint]

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer; the first use may take seconds of imports."""
        return self.load_tokenizer()

    @property
    def every_checkpoint(self) -> list[Checkpoint]:
        """Every checkpoint of the series, also those that cannot be used, in order."""
        every = [*self.checkpoints, *(checkpoint for checkpoint, _ in self.refused)]
        return sorted(every, key=lambda checkpoint: step_order(checkpoint.step, checkpoint.name))

    def key_of(self, checkpoint: Checkpoint) -> PlanKey:
        """Return the key of the checkpoint's plan; equal keys, of any series, mean the same plan."""
        return self.tokenizer_id, self.max_length, self.generations[checkpoint]

    @property
    def keys(self) -> list[PlanKey]:
        """The keys of the checkpoints, in their order."""
        return list(dict.fromkeys(self.key_of(checkpoint) for checkpoint in self.checkpoints))

    def traits(self, key: PlanKey) -> ModelTraits:
        """Return what the plan with this key depends on, besides the tasks."""
        tokenizer_id, max_length, defaults = key
        return ModelTraits(
            load_tokenizer=self.load_tokenizer,
            tokenizer_id=tokenizer_id,
            max_length=max_length,
            defaults=defaults,
        )


def prepare_series(series: Series, config: EvalConfig, plan: Plan | None = None) -> PreparedSeries:
    """Read config and tokenizer of every checkpoint, no weights, and refuse those that differ from most.

    Where two kinds are equally common, the one of the earliest checkpoint counts.

    Args:
        plan: a saved plan: a series without any tokenizer is taken to have the plan's.

    Raises:
        SourceError: no checkpoint of the series can be used.
        TokenizerError: none of them has a tokenizer, or it lacks the chat template asked for.
    """
    refused = {c: c.problem for c in series.checkpoints if c.problem is not None}
    faults: dict[Checkpoint, CheckpointError] = {}
    configs = _read_configs(series, refused, faults)
    _refuse_other_shapes(configs, refused)
    try:
        folder, tokenizer, tokenizer_id = _tokenizer(configs, refused, config.tokenizer)
        choose_chat_template(tokenizer, config.tasks.apply_chat_template)
    except TokenizerError:
        if plan is None or plan.generates_text or config.tokenizer is not None or not configs:
            raise
        folder, tokenizer, tokenizer_id = fetch_config(next(iter(configs))), None, plan.tokenizer_id
    generations = _generation_defaults(series, configs, refused, faults)
    first = next(iter(configs.values()))
    from milepost.weights import context_length

    return PreparedSeries(
        name=series.name,
        checkpoints=tuple(c for c in series.checkpoints if c in configs),
        refused=tuple(refused.items()),
        tokenizer_folder=folder,
        load_tokenizer=lambda: tokenizer,
        tokenizer_id=tokenizer_id,
        max_length=context_length(first, tokenizer).tokens,
        vocab_size=int(first.get_text_config().vocab_size),
        generations=generations,
        dtypes={
            c: str(getattr(own, "dtype", None) or "auto").removeprefix("torch.") for c, own in configs.items()
        },
    )


def _read_configs(
    series: Series, refused: dict[Checkpoint, str], faults: dict[Checkpoint, CheckpointError]
) -> dict[Checkpoint, PretrainedConfig]:
    """Read the config of each checkpoint; adds to `refused` and `faults` those whose config cannot be read.

    Raises:
        SourceError: no config can be read.
    """
    configs: dict[Checkpoint, PretrainedConfig] = {}
    for checkpoint in series.checkpoints:
        if checkpoint.problem is None:
            try:
                configs[checkpoint] = _config_of(checkpoint)
            except CheckpointError as error:
                refused[checkpoint] = error.one_line
                faults[checkpoint] = error
    if not configs:
        raise _nothing_to_evaluate(series, refused, faults)
    return configs


def _refuse_other_shapes(configs: dict[Checkpoint, PretrainedConfig], refused: dict[Checkpoint, str]) -> None:
    """Move checkpoints that differ in shape from most of the series to `refused`."""
    shape = _most_common({c: _shape(own) for c, own in configs.items()})
    for checkpoint, own in list(configs.items()):
        differing = [key for key, value in _shape(own) if (key, value) not in shape]
        if differing:
            refused[checkpoint] = f"is not of the series' shape: it differs in {', '.join(differing)}"
            del configs[checkpoint]


def _config_of(checkpoint: Checkpoint) -> PretrainedConfig:
    from milepost.weights import read_config, rows_after_merging

    source = checkpoint.base or checkpoint
    config = read_config(fetch_config(source), source.format, checkpoint.config)
    if checkpoint.base is not None:  # tokens may have been added with the adapter
        config.get_text_config().vocab_size = rows_after_merging(fetch(checkpoint), config)
    return config


def _nothing_to_evaluate(
    series: Series, refused: Mapping[Checkpoint, str], faults: Mapping[Checkpoint, CheckpointError]
) -> SourceError:
    """Return the error of a series without a usable checkpoint, with the hint of its first fault.

    Args:
        refused: why each checkpoint cannot be used.
        faults: the errors behind those reasons, where there is one.
    """
    first, reason = next(iter(refused.items()))
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    listed = len(refused) > len(faults)  # with a problem that `milepost list` shows
    hint = "`milepost list` shows what is wrong with each" if listed and len(refused) > 1 else None
    if first in faults:
        reason, hint = faults[first].message, faults[first].hint or hint
    return SourceError(
        Phrase(
            "{source}: no checkpoint can be evaluated; {name}: {reason}{more}",
            source=series.source,
            name=first.name,
            reason=reason,
            more=more,
        ),
        hint,
    )


def _generation_defaults(
    series: Series,
    configs: dict[Checkpoint, PretrainedConfig],
    refused: dict[Checkpoint, str],
    faults: dict[Checkpoint, CheckpointError],
) -> dict[Checkpoint, GenerationDefaults]:
    """Read each checkpoint's own generation settings; one whose file cannot be read is refused.

    Raises:
        SourceError: no checkpoint is left.
    """
    from milepost.weights import read_generation_defaults

    found: dict[Checkpoint, GenerationDefaults] = {}
    for checkpoint, config in list(configs.items()):
        try:
            folder = fetch_config(checkpoint.base or checkpoint)
            found[checkpoint] = read_generation_defaults(folder, config)
        except CheckpointError as error:
            refused[checkpoint] = error.one_line
            faults[checkpoint] = error
            del configs[checkpoint]
    if not configs:
        raise _nothing_to_evaluate(series, refused, faults)
    if len(set(found.values())) > 1:
        logger.info("generation_config.json differs between the checkpoints; each is evaluated with its own")
    return found


def _shape(config: PretrainedConfig) -> tuple[tuple[str, str], ...]:
    return tuple((key, str(getattr(config, key, None))) for key in SHAPE)


def _tokenizer(
    configs: dict[Checkpoint, PretrainedConfig], refused: dict[Checkpoint, str], override: str | None
) -> tuple[Path, Any, str]:
    """Return the folder of the series' tokenizer, the tokenizer and its id.

    Checkpoints with another tokenizer are refused, those without use this one.
    """
    from milepost.weights import files_id, load_tokenizer, tokenizer_folder, tokenizer_id

    found: dict[Path, tuple[Any, str]] = {}
    loaded: dict[str, tuple[Any, str]] = {}
    """By the hash of their files: each checkpoint has a copy, and loading one takes half a second."""
    id_of: dict[Checkpoint, str] = {}
    problem: TokenizerError | None = None
    for checkpoint in list(configs):
        try:
            folder = tokenizer_folder(checkpoint, override)
        except TokenizerError as error:
            if override is not None:
                raise
            problem = problem or error
            continue
        try:
            if folder not in found:
                files = files_id(folder)
                if files not in loaded:
                    tokenizer = load_tokenizer(folder)
                    loaded[files] = tokenizer, tokenizer_id(tokenizer)
                found[folder] = loaded[files]
            id_of[checkpoint] = found[folder][1]
        except TokenizerError as error:
            problem = problem or error
            refused[checkpoint] = error.one_line
            del configs[checkpoint]
    if not id_of:
        assert problem is not None
        raise problem
    shared = _most_common(id_of)
    for checkpoint, own in id_of.items():
        if own != shared:
            refused[checkpoint] = "has another tokenizer than the other checkpoints of its series"
            del configs[checkpoint]
    return next((folder, tokenizer, name) for folder, (tokenizer, name) in found.items() if name == shared)


def _most_common(values: Mapping[Checkpoint, Key]) -> Key:
    return Counter(values.values()).most_common(1)[0][0]
