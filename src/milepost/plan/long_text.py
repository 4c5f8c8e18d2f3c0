"""Cut one long text into windows of token ids; each window becomes a request and a doc."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from milepost.plan.encode import EncodedTask, as_sequences
from milepost.plan.string_encoder import StringEncoder
from milepost.plan.windows import Window, cut
from milepost.types.requests import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class CutText:
    """W windows of a text: token ids, requests, and the docs that the results folder keeps."""

    encoded: EncodedTask
    requests: list[Request]
    """[W] requests; the continuation is the text that the window predicts."""
    docs: dict[str, list[Any]]
    """Columns as of `tasks.question_source.DocRecord`, W rows."""


def cut_text(
    task: str, request: Request, encoder: StringEncoder, max_length: int, limit: float | None = None
) -> CutText:
    """Cut the text of a request into windows.

    Args:
        task: name of the task, for error messages.
        request: a request with `windows`; its continuation is the text.
        max_length: context length of the model, in tokens.
        limit: how many windows to keep from the start: a count, or a share below 1.

    Raises:
        TaskError: windows longer than the model's context, or a text shorter than a window.
        TokenizerError: a prefix token is needed and the tokenizer does not have one.
    """
    assert request.windows is not None
    key = encoder.usual(request.continuation)
    encoder.add([key])
    tokens = encoder[key]
    windows = _first(cut(task, request.windows, len(tokens), max_length), limit)
    pieces = [
        ([encoder.prefix] if window.start < 0 else []) + tokens[max(0, window.start) : window.end]
        for window in windows
    ]
    texts = [encoder.decode(tokens[window.first : window.end]) for window in windows]
    return CutText(
        encoded=EncodedTask(
            sequences=as_sequences(pieces, [window.end - window.first for window in windows]),
            request_of=np.arange(len(windows), dtype=np.int32),
            n_requests=len(windows),
            n_truncated=0,
        ),
        requests=[Request(request.kind, number, 0, "", text) for number, text in enumerate(texts)],
        docs=_docs(windows, texts),
    )


def _first(windows: list[Window], limit: float | None) -> list[Window]:
    if limit is None:
        return windows
    return windows[: math.ceil(len(windows) * limit) if limit < 1 else int(limit)]


def _docs(windows: list[Window], texts: list[str]) -> dict[str, list[Any]]:
    docs = [
        json.dumps({"first_token": window.first, "n_tokens": window.end - window.first, "text": text})
        for window, text in zip(windows, texts, strict=True)
    ]
    hashes = [_hash(text) for text in texts]
    return {
        "doc_id": list(range(len(windows))),
        "doc": docs,
        "target": texts,
        "arguments": [json.dumps([[text]]) for text in texts],
        "doc_hash": [_hash(doc) for doc in docs],
        "prompt_hash": hashes,
        "target_hash": hashes,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
