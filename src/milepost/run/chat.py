"""Which of a tokenizer's chat templates `--apply-chat-template` means."""

from __future__ import annotations

import logging
from typing import Any

from milepost.errors import TokenizerError

logger = logging.getLogger("milepost.run")


def choose_chat_template(tokenizer: Any, asked: bool | str) -> None:
    """Make the template asked for the tokenizer's only one.

    lm_eval checks the name as well, but then renders with the template called `default` whatever was asked.
    Source: lm_eval/models/huggingface.py, `chat_template` and `apply_chat_template`.

    Args:
        asked: as in `TaskSettings.apply_chat_template`.

    Raises:
        TokenizerError: there is no such template, or none at all.
    """
    if not asked:
        return
    there = tokenizer.chat_template
    if not there:
        raise TokenizerError(
            "--apply-chat-template: the tokenizer has no chat template",
            "leave the option out, or pass --tokenizer PATH with one that has",
        )
    if not isinstance(there, dict):
        if isinstance(asked, str):
            logger.warning("the tokenizer has one chat template, which has no name; it is used for %r", asked)
        return
    name = asked if isinstance(asked, str) else "default"
    if name not in there:
        raise TokenizerError(
            f"--apply-chat-template: the tokenizer has no chat template {name!r}",
            "it has " + ", ".join(sorted(there)),
        )
    tokenizer.chat_template = there[name]
