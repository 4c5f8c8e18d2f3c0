"""Cut the tokens of a text into windows, in each of the ways in which perplexity is reported.

Each window is scored separately. No kind of window predicts a token more than once.

- *fixed*: disjoint windows; the first token of each has no context and is not predicted. Source:
  `eval_ppl_wikitext` of Wanda, lib/eval.py (github.com/locuslab/wanda), after GPTQ and SparseGPT.
- *sliding*: overlapping windows that begin `stride` tokens apart; each predicts the tokens that the window
  before it did not see. Source: "Perplexity of fixed-length models" in the documentation of transformers.
- *rolling*: disjoint windows of predicted tokens, each after one token of context, the last (shorter) window
  after as many as fit. Source: lm_eval/utils.py, `get_rolling_token_windows`, `make_disjoint_window`.
"""

from __future__ import annotations

from typing import NamedTuple

from milepost.errors import TaskError
from milepost.text.language import Phrase
from milepost.types.requests import Windows, usual_stride

USUAL_SIZE = 2048
"""The window of most published fixed-window perplexities."""


class Window(NamedTuple):
    """The model sees tokens `start:end - 1` of the text and predicts `first:end`; -1 is the prefix token."""

    start: int
    first: int
    end: int


def window_size(task: str, windows: Windows, max_length: int) -> int:
    """Return the tokens per window for a model with a context of `max_length` tokens.

    Raises:
        TaskError: the windows are longer than the context.
    """
    if windows.whole_context:
        return max_length
    if windows.size is None:
        return min(USUAL_SIZE, max_length)
    if windows.size > max_length:
        raise TaskError(
            Phrase(
                "{task}: windows of {size} tokens, but the model's context is {max_length}",
                task=task,
                size=windows.size,
                max_length=max_length,
            ),
            _smaller(max_length),
        )
    return windows.size


def cut(task: str, windows: Windows, n_tokens: int, max_length: int) -> list[Window]:
    """Cut a text of `n_tokens` tokens into windows, in order.

    Raises:
        TaskError: windows longer than the model's context, or a text shorter than a window.
    """
    size = window_size(task, windows, max_length)
    if windows.kind == "rolling":
        found = rolling(n_tokens, size, prefix=windows.prefix)
    else:
        if n_tokens < size:
            raise TaskError(
                Phrase(
                    "{task}: the text has {n_tokens} tokens, fewer than one window of {size}",
                    task=task,
                    n_tokens=n_tokens,
                    size=size,
                ),
                _smaller(n_tokens) if n_tokens > 1 else "give a longer text",
            )
        if windows.kind == "fixed":
            found = fixed(n_tokens, size, keep_tail=windows.keep_tail)[: windows.most]
        else:
            found = sliding(n_tokens, size, _stride(task, windows, size))
    if not found:
        raise TaskError(
            Phrase(
                "{task}: the text has {n_tokens} tokens, too few to predict any", task=task, n_tokens=n_tokens
            ),
            "give a longer text",
        )
    return found


def fixed(n_tokens: int, size: int, *, keep_tail: bool = False) -> list[Window]:
    """Return disjoint windows; the tail is dropped, or kept if it has a token to predict."""
    found = [Window(start, start + 1, start + size) for start in range(0, n_tokens - size + 1, size)]
    tail = n_tokens // size * size
    return [*found, Window(tail, tail + 1, n_tokens)] if keep_tail and n_tokens - tail > 1 else found


def sliding(n_tokens: int, size: int, stride: int) -> list[Window]:
    """Return overlapping windows that predict every token but the first.

    With a stride as long as the windows, they do not overlap, and no window predicts its first token.
    """
    found: list[Window] = []
    predicted = 0
    for start in range(0, n_tokens, stride):
        end = min(start + size, n_tokens)
        found.append(Window(start, max(predicted, start + 1), end))
        predicted = end
        if end == n_tokens:
            break
    return [window for window in found if window.end > window.first]


def rolling(n_tokens: int, size: int, *, prefix: bool) -> list[Window]:
    """Return lm_eval's windows; without `prefix` they are the same, but the first token is not predicted."""
    found = []
    for first in range(0, n_tokens, size):
        end = min(first + size, n_tokens)
        found.append(Window(max(0, end - size - 1) if first else -1, first, end))
    if not prefix and found:
        found[0] = Window(0, 1, found[0].end)
    return [window for window in found if window.end > window.first]


def _stride(task: str, windows: Windows, size: int) -> int:
    stride = usual_stride(size) if windows.stride is None else windows.stride
    if stride > size:
        raise TaskError(
            Phrase(
                "{task}: a stride of {stride} tokens skips tokens between windows of {size}",
                task=task,
                stride=stride,
                size=size,
            ),
            Phrase(
                "pass --stride {size} or less (`milepost run`: --metadata '{{\"stride\": {size}}}')",
                size=size,
            ),
        )
    return stride


def _smaller(seqlen: int) -> str:
    return f"pass --seqlen {seqlen} or less (`milepost run`: --metadata '{{\"seqlen\": {seqlen}}}')"
