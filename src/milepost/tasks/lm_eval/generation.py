"""Read a task's `generation_kwargs` as lm_eval does, and check them before any work starts.

Source: lm_eval/models/utils.py `normalize_gen_kwargs`, `handle_stop_sequences`; lm_eval/models/huggingface.py
`generate_until` and `_model_generate` (0.4.13).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from milepost.errors import MilepostError, TaskError
from milepost.text.language import Phrase
from milepost.types.generation import Generation, GenerationDefaults

DEFAULT_MAX_NEW_TOKENS = 256
"""lm_eval's `HFLM.max_gen_toks`."""
DEFAULT_TOP_K = 50
"""The default of transformers for sampling."""
PENALTIES = ("repetition_penalty", "no_repeat_ngram_size")
"""Options that change the greedy choice too."""
FILTERS = ("top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
"""Options that only affect sampling."""
WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "use_cache": (True, False),
    "early_stopping": (True, False),
}
"""Other options that tasks set, and their values that change nothing here."""

logger = logging.getLogger("milepost.tasks")


def parse_gen_kwargs(text: str) -> dict[str, Any]:
    """Parse `--gen-kwargs` as lm_eval does: a JSON object, or `max_gen_toks=64,do_sample=true`.

    Raises:
        MilepostError: the text is neither.
    """
    from lm_eval._cli.utils import key_val_to_dict

    try:
        found = json.loads(text) if text.lstrip().startswith("{") else key_val_to_dict(text)
    except (ValueError, RecursionError) as error:
        raise MilepostError(
            Phrase("--gen-kwargs {text!r}: {error}", text=text, error=str(error)),
            'for example --gen-kwargs max_gen_toks=64,until=["\\\\n"]',
        ) from error
    return dict(found)


def read_generation(task: str, gen_kwargs: Mapping[str, Any], repeats: int, seed: int | None) -> Generation:
    """Read the generation settings of a request of `task`.

    Args:
        gen_kwargs: the second argument of lm_eval's request.
        repeats: texts per request in lm_eval; greedy texts are all equal and are generated once.

    Raises:
        TaskError: a stop string is empty or not text, a length is not positive, or an option is unknown.
    """
    if not isinstance(gen_kwargs, Mapping):
        raise TaskError(
            Phrase("{task}: its generation_kwargs are not a mapping", task=task), "see lm_eval's task guide"
        )
    given = dict(gen_kwargs)
    until = _stop_strings(task, given.get("until"))
    try:
        kwargs: dict[str, Any] = dict(normalize_gen_kwargs(given | {"until": until}, DEFAULT_MAX_NEW_TOKENS))
    except (TypeError, ValueError) as error:
        raise TaskError(
            Phrase("{task}: its generation_kwargs are wrong: {error}", task=task, error=str(error)),
            "see lm_eval's task guide",
        ) from error
    max_new_tokens, do_sample = kwargs.pop("max_gen_toks"), bool(kwargs.pop("do_sample"))
    temperature = float(kwargs.pop("temperature", 0.0))
    kwargs.pop("until")
    if max_new_tokens < 1:
        raise TaskError(
            Phrase("{task}: max_gen_toks is {max_new_tokens}", task=task, max_new_tokens=max_new_tokens),
            "pass 1 token or more",
        )
    if do_sample and temperature <= 0:
        raise TaskError(
            Phrase(
                "{task}: do_sample with a temperature of {temperature:g}", task=task, temperature=temperature
            ),
            "set a temperature above 0, or do_sample=false: --gen-kwargs do_sample=false",
        )
    return Generation(
        until=tuple(until),
        max_new_tokens=max_new_tokens,
        do_sample=do_sample,
        temperature=temperature if do_sample else 1.0,
        options=tuple(sorted(_options(task, kwargs).items())),
        n_answers=max(1, repeats) if do_sample else 1,
        seed=seed or 0,
    )


def _is_not_refused(record: logging.LogRecord) -> bool:
    """Drop lm_eval's warning of a temperature of 0, which `read_generation` refuses in its own words."""
    return not record.getMessage().startswith("do_sample=True` but")


logging.getLogger("lm_eval.models.utils").addFilter(_is_not_refused)


def with_defaults(generation: Generation, defaults: GenerationDefaults, eos: str | None) -> Generation:
    """Fill in the defaults of the model's files where the task sets nothing.

    Args:
        eos: the text of the tokenizer's end-of-text token, which lm_eval adds to the stop strings.
    """
    until = generation.until
    if eos and eos not in until:
        until = (*until, eos)
    options = {**dict(defaults.options), **dict(generation.options)}
    if generation.do_sample:
        options.setdefault("top_k", DEFAULT_TOP_K)
    else:
        options = {name: value for name, value in options.items() if name in PENALTIES}
    return replace(
        generation, until=until, stop_tokens=defaults.stop_tokens, options=tuple(sorted(options.items()))
    )


def _stop_strings(task: str, until: Any) -> list[str]:
    if until is None or until == []:
        logger.warning(
            "%s has no stop strings; a text ends at the end-of-text token or at its greatest length", task
        )
        return []
    strings = [until] if isinstance(until, str) else until
    if not isinstance(strings, list) or not all(isinstance(text, str) for text in strings):
        raise TaskError(
            Phrase("{task}: `until` is {until!r}, which is not a list of strings", task=task, until=until),
            "correct generation_kwargs of the task",
        )
    if "" in strings:
        raise TaskError(
            Phrase("{task}: a stop string is empty, so every text would be empty", task=task),
            'remove it from generation_kwargs, or pass --gen-kwargs \'{"until": ["..."]}\'',
        )
    return list(dict.fromkeys(strings))


def _options(task: str, kwargs: Mapping[str, Any]) -> dict[str, float]:
    options: dict[str, float] = {}
    for name, value in kwargs.items():
        if value is None or value in WITHOUT_EFFECT.get(name, ()):
            continue
        if name not in (*PENALTIES, *FILTERS) or not isinstance(value, int | float):
            raise TaskError(
                Phrase(
                    "{task}: generation with {name}={value!r} is not supported",
                    task=task,
                    name=name,
                    value=value,
                ),
                "supported are until, max_gen_toks, do_sample, temperature, "
                + ", ".join((*PENALTIES, *FILTERS)),
            )
        options[name] = value
    return options
