"""Show a prompt as the tokens that the model sees."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.errors import SourceError
from milepost.plan.encode import encode
from milepost.plan.string_encoder import StringEncoder
from milepost.sources import discover
from milepost.store import ResultsIndex
from milepost.store.records import RunRecord
from milepost.text.language import Phrase
from milepost.types.generation import Generation
from milepost.types.requests import Request

if TYPE_CHECKING:
    from milepost.store.pick_history import Question


def prompt_tokens(results: Path, series: str, question: Question) -> list[str]:
    """Return the text of each token of the doc's first request, truncated on the left as for the model.

    A token that is a part of a character is written as in the tokenizer's vocabulary.

    Raises:
        SourceError: the checkpoints of the results no longer exist.
        TokenizerError: they have no tokenizer.
    """
    tokenizer, max_length = run_tokenizer(results, series)
    context, continuation = question.requests[0]
    request = Request("loglikelihood", question.doc_id, 0, context, continuation)
    if question.texts:
        one_token = Generation(until=(), max_new_tokens=1)
        request = Request("generate_until", question.doc_id, 0, context, "", one_token)
    encoded = encode("this prompt", [request], StringEncoder(tokenizer), max_length)
    ids = encoded.sequences.tokens.tolist()
    return [_text(tokenizer, token) for token in ids]


@functools.cache
def run_tokenizer(results: Path, series: str) -> tuple[Any, int]:
    """Return tokenizer and context length of the newest run: --tokenizer, else the last checkpoint's."""
    from milepost.weights import load_tokenizer, tokenizer_folder

    index = ResultsIndex.open(results)
    assert index.newest is not None  # a stored checkpoint has a run
    run, plan = index.newest
    source = index.checkpoints(series)[-1].source or ""
    found = discover(source)
    if not found.checkpoints:
        raise SourceError(
            Phrase("{source} no longer exists", source=source), "prompts as tokens need its tokenizer"
        )
    return load_tokenizer(tokenizer_folder(found.checkpoints[-1], _tokenizer_option(run))), plan.max_length


def _tokenizer_option(run: RunRecord) -> str | None:
    """Return the `--tokenizer` of a run; records without a config have only its command line."""
    if run.config is not None:
        given: str | None = run.config.get("tokenizer")
        return given
    words = shlex.split(run.command or "")
    return words[words.index("--tokenizer") + 1] if "--tokenizer" in words else None


def _text(tokenizer: Any, token: int) -> str:
    text: str = tokenizer.decode([token])
    return text if "\ufffd" not in text else str(tokenizer.convert_ids_to_tokens(token))
