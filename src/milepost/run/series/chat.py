"""Choose the chat template that `--apply-chat-template` names, and render prompts with it."""

from __future__ import annotations

import logging
from typing import Any

from milepost.errors import TokenizerError
from milepost.run.series.time_limit import time_limit
from milepost.text.language import Phrase

MOST_SECONDS = 10.0
"""Time limit of a chat template for one prompt; usual ones take a millisecond."""

logger = logging.getLogger("milepost.run")


def choose_chat_template(tokenizer: Any, chosen: bool | str) -> None:
    """Make the chosen template the tokenizer's only one.

    lm_eval checks the name as well, but then renders with the template called `default` in any case.
    Source: lm_eval/models/huggingface.py, `chat_template` and `apply_chat_template`.

    Args:
        chosen: as in `TaskSettings.apply_chat_template`.

    Raises:
        TokenizerError: the tokenizer has no such template, or no template.
    """
    if not chosen:
        return
    templates = tokenizer.chat_template
    if not templates:
        raise TokenizerError(
            "--apply-chat-template: the tokenizer has no chat template",
            "leave the option out, or pass --tokenizer PATH with one that has",
        )
    if not isinstance(templates, dict):
        if isinstance(chosen, str):
            logger.warning(
                "the tokenizer has one chat template, which has no name; it is used for %r", chosen
            )
        return
    name = chosen if isinstance(chosen, str) else "default"
    if name not in templates:
        raise TokenizerError(
            Phrase("--apply-chat-template: the tokenizer has no chat template {name!r}", name=name),
            "it has " + ", ".join(sorted(templates)),
        )
    tokenizer.chat_template = templates[name]


def render_chat(tokenizer: Any, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """Render messages with the chat template; one that refuses a system message gets none.

    Source: lm_eval/models/huggingface.py, `HFLM.apply_chat_template`.

    Raises:
        TokenizerError: the template runs for too long.
    """
    import jinja2

    def render(history: list[dict[str, str]]) -> str:
        with time_limit(MOST_SECONDS, _endless_template):
            text: str = tokenizer.apply_chat_template(
                history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        return text

    try:
        return render(messages)
    except jinja2.exceptions.TemplateError:
        logger.warning("the chat template refuses a system message; it is left out")
        return render([message for message in messages if message["role"] != "system"])


def _endless_template() -> TokenizerError:
    return TokenizerError(
        Phrase(
            "the model's chat template takes more than {MOST_SECONDS:.0f} s for one prompt",
            MOST_SECONDS=MOST_SECONDS,
        ),
        "leave out --apply-chat-template, or pass --tokenizer PATH with a sound one",
    )
