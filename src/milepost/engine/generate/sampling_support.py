"""Sampling options supported by engines that sample outside Milepost.

Milepost's own generators support every option that a task can set.
"""

from __future__ import annotations

from milepost.errors import MilepostError
from milepost.text.language import Phrase
from milepost.types.generation import Generation

NEUTRAL: dict[str, tuple[float, ...]] = {
    "repetition_penalty": (1.0,), "no_repeat_ngram_size": (0,), "top_k": (0,), "top_p": (1.0,),
    "min_p": (0.0,), "typical_p": (1.0,), "epsilon_cutoff": (0.0,), "eta_cutoff": (0.0,),
}  # fmt: skip
"""Values that switch an option off."""

OPTIONS: dict[str, tuple[str, ...]] = {
    "hf-continuous": (),
    "openai": ("top_p", "top_k", "min_p", "repetition_penalty"),
}
"""Supported options of each engine; vLLM and SGLang use transformers' names."""

GREEDY_ONLY = ("hf-continuous",)
"""Engines whose draws depend on what else is in the batch."""


def effective_options(generation: Generation) -> dict[str, float]:
    """Return the options that change something."""
    return {name: value for name, value in generation.options if value not in NEUTRAL.get(name, ())}


TEXT_ONLY = ("hf-continuous", "openai")
"""Engines that give no log-probability of a token."""


def check_sampling_options(engine: str, generation: Generation, task: str = "a task") -> None:
    """Check that an engine can choose tokens as a task asks.

    Raises:
        MilepostError: it cannot; the message names the task.
    """
    if generation.do_sample and engine in GREEDY_ONLY:
        raise MilepostError(
            Phrase("--engine {engine} is greedy only, and {task} draws its texts", engine=engine, task=task),
            "use --engine auto, or --gen-kwargs do_sample=false",
        )
    if generation.returns == "tokens" and engine in TEXT_ONLY:
        raise MilepostError(
            Phrase(
                "--engine {engine} gives texts without log-probabilities of tokens, which {task} asks for",
                engine=engine,
                task=task,
            ),
            "use --engine auto",
        )
    unknown = [name for name in effective_options(generation) if name not in OPTIONS.get(engine, NEUTRAL)]
    if unknown:
        raise MilepostError(
            Phrase(
                "--engine {engine} does not support {names}, which {task} asks for",
                engine=engine,
                names=", ".join(unknown),
                task=task,
            ),
            "use --engine auto, or switch it off: --gen-kwargs "
            + ",".join(f"{name}={NEUTRAL[name][0]:g}" for name in unknown),
        )
