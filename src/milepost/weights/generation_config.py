"""Read the generation defaults in a model's `generation_config.json`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PretrainedConfig

from milepost.errors import CheckpointError
from milepost.sources.config_file import read_config_file
from milepost.sources.local_folder import find_config
from milepost.text.messages import first_line, shown
from milepost.types.generation import GenerationDefaults

FILE = "generation_config.json"
OPTIONS = (
    "repetition_penalty", "no_repeat_ngram_size", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff",
    "eta_cutoff",
)  # fmt: skip
"""Fields of `GenerationConfig` that our generators follow."""
SILENT = {
    "bos_token_id", "decoder_start_token_id", "do_sample", "eos_token_id", "max_length", "max_new_tokens",
    "pad_token_id", "temperature", "transformers_version", "use_cache", "_from_model_config",
    "cache_implementation", "output_attentions", "output_hidden_states", "return_dict_in_generate",
}  # fmt: skip
"""Fields that do not change a text, or that lm_eval always sets."""

logger = logging.getLogger("milepost.weights")


def read_generation_defaults(folder: Path, config: PretrainedConfig) -> GenerationDefaults:
    """Return the defaults in the folder's `generation_config.json` or, without that file, in the config.

    Source: transformers, `PreTrainedModel.from_pretrained` and `GenerationMixin._prepare_generation_config`.

    Raises:
        CheckpointError: the file does not parse.
    """
    own = find_config(folder)
    path = (own.parent if own is not None else folder) / FILE
    if path.is_file():
        raw = read_config_file(path)
        try:
            defaults = generation_defaults(GenerationConfig.from_dict(raw))
        except Exception as error:  # transformers raises many kinds of exception for wrong values
            raise CheckpointError(f"{shown(path)} is not usable: {first_line(error)}") from error
        _warn_of_ignored(raw)
        return defaults
    return generation_defaults(GenerationConfig.from_model_config(config))


def generation_defaults(settings: GenerationConfig) -> GenerationDefaults:
    """Return the generation defaults of a model that affect its texts.

    Raises:
        ValueError: `eos_token_id` is neither a token's number nor a list of them.
    """
    eos: Any = settings.eos_token_id
    stop_tokens = () if eos is None else tuple(eos) if isinstance(eos, list | tuple) else (eos,)
    if not all(isinstance(token, int) for token in stop_tokens):
        raise ValueError(f"eos_token_id is {shown(eos)}, which is no number of a token")
    options = {name: getattr(settings, name, None) for name in OPTIONS}
    return GenerationDefaults(
        stop_tokens=stop_tokens,
        options=tuple((name, value) for name, value in options.items() if value is not None),
    )


def _warn_of_ignored(raw: dict[str, Any]) -> None:
    ignored = sorted(
        name
        for name, value in raw.items()
        if name not in (*OPTIONS, *SILENT) and value not in (None, 1, 0, 1.0)
    )
    if ignored:
        logger.warning("%s says %s, which generation ignores", FILE, ", ".join(map(shown, ignored)))
