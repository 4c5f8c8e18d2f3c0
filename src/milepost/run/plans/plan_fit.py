"""Check that a saved plan fits the models of a series."""

from __future__ import annotations

import logging

from milepost.errors import MilepostError, TokenizerError
from milepost.plan.plan import Plan
from milepost.run.plans.planning import as_json
from milepost.run.series.prepared_series import PreparedSeries
from milepost.run.software_versions import versions
from milepost.text.language import Phrase

logger = logging.getLogger("milepost.run")

_TOKENIZES = ("transformers", "tokenizers")
"""Libraries that decide how a tokenizer is described."""


def check_plan_fits(plan: Plan, series: PreparedSeries) -> None:
    """Check that the token ids of a saved plan mean the same to the models of a series.

    Other versions of the tokenizer's library may describe the same tokenizer in another way: then only a
    warning is given.

    Raises:
        MilepostError: the plan is for another context length, or asks for texts that end otherwise.
        TokenizerError: it is for another tokenizer.
    """
    if series.max_length != plan.max_length:
        raise MilepostError(
            Phrase(
                "the saved plan is for a context of {max_length:,} tokens, {name} has {own:,}",
                max_length=plan.max_length,
                name=series.name,
                own=series.max_length,
            ),
            "save a plan of this model",
        )
    made_for = plan.settings.get("generation_defaults")
    if plan.generates_text and made_for is not None:
        for checkpoint, own in series.generations.items():
            if as_json(own) != made_for:
                raise MilepostError(
                    Phrase(
                        "generation_config.json of {name} differs from the one that the saved plan"
                        " was made with",
                        name=checkpoint.name,
                    ),
                    "leave it out with --steps, and save a plan for it",
                )
    if series.tokenizer_id == plan.tokenizer_id:
        return
    made_with = plan.settings["versions"]
    if all(made_with.get(name) == versions().get(name) for name in _TOKENIZES):
        raise TokenizerError(
            Phrase("{name} has another tokenizer than the saved plan was made with", name=series.name),
            "save a plan of this model",
        )
    logger.warning(
        "%s: its tokenizer may differ from that of the saved plan, as transformers or tokenizers has another"
        " version here",
        series.name,
    )
