"""Compute the perplexity of one text in every convention in which it is reported."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from milepost.analysis.intervals import interval
from milepost.analysis.perplexity.chain import Gap, Sizes, gaps
from milepost.analysis.perplexity.sums import Sums
from milepost.analysis.perplexity.tasks import BOS, FIXED, STRIDED, lm_eval_task, tasks_of
from milepost.text.language import Phrase
from milepost.types.answers import ModelAnswers
from milepost.types.requests import usual_stride

_TOKEN, _WORD, _BYTE = Phrase("token"), Phrase("word"), Phrase("byte")
_REPORTED = (
    ("fixed", FIXED, "token_perplexity", _TOKEN),
    ("strided", STRIDED, "token_perplexity", _TOKEN),
    ("strided_guide", STRIDED, "guide_perplexity", _TOKEN),
    ("word_perplexity", None, "word_perplexity", _WORD),
    ("byte_perplexity", None, "byte_perplexity", _BYTE),
    ("bits_per_byte", None, "bits_per_byte", _BYTE),
)
"""Name, task (None for lm_eval's task of the text), metric and unit of each convention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """The perplexity of a model on the text, reported in one way."""

    name: str
    """`fixed`, `strided`, `strided_guide`, `word_perplexity`, `byte_perplexity` or `bits_per_byte`."""
    task: str
    metric: str
    unit: str
    """`token`, `word` or `byte`."""
    n_units: int
    ln_value: float
    """Natural logarithm of the value."""
    value: float | None
    """The value of lm_eval's aggregation; None if it is too large for a float."""
    stderr: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPerplexity:
    """The perplexities of one model on one text."""

    series: str
    checkpoint: str
    step: int | None
    source: str
    model_id: str
    numerics: str
    tokenizer_id: str
    text: str
    """`wikitext2`, `c4` or a file."""
    seqlen: int
    """Tokens per fixed window."""
    stride: int
    context: int
    """Context length of the model, in tokens."""
    n_windows: int
    """Number of fixed windows."""
    n_words: int
    """Words of lm_eval's documents, before they are joined or detokenised."""
    n_bytes: int
    """Bytes of the same documents."""
    n_tokens: int | None
    """Tokens of the text as in the fixed windows; None without the gaps."""
    conventions: tuple[Convention, ...]
    gaps: tuple[Gap, ...]
    """Gaps from `fixed` to each other convention; empty unless their tasks were evaluated."""

    def convention(self, name: str) -> Convention:
        """Return the convention of that name; raises StopIteration if there is no such convention."""
        return next(convention for convention in self.conventions if convention.name == name)

    def value(self, name: str) -> float | None:
        """Return the value of a convention, for example `value("word_perplexity")`."""
        return self.convention(name).value


def text_perplexity(
    answers: ModelAnswers, *, text: str, stride: int | None, context: int, tokenizer_id: str
) -> TextPerplexity:
    """Compute the perplexities of one model on a text.

    Args:
        answers: the model's answers to the tasks of this text alone.
        text: name of the text.
        stride: stride of the sliding windows in tokens; None for the default.
        context: context length of the model, in tokens.
    """
    sums = Sums(answers, lm_eval_task(text))
    fixed = sums.pairs(FIXED, "token_perplexity")
    seqlen = int(fixed[0][1])
    has_chain = set(tasks_of(text)) <= set(answers.tasks)
    conventions = tuple(_conventions(answers, sums))
    ln_values = {convention.name: convention.ln_value for convention in conventions}
    return TextPerplexity(
        series=answers.series,
        checkpoint=answers.checkpoint,
        step=answers.step,
        source=answers.source,
        model_id=answers.model_id,
        numerics=answers.numerics,
        tokenizer_id=tokenizer_id,
        text=text,
        seqlen=seqlen,
        stride=stride or usual_stride(seqlen),
        context=context,
        n_windows=len(fixed),
        n_words=sums.n_words,
        n_bytes=sums.n_bytes,
        n_tokens=sums.tokens(BOS) if has_chain else None,
        conventions=conventions,
        gaps=tuple(gaps(ln_values, sums, Sizes(seqlen, context, text))) if has_chain else (),
    )


def _conventions(answers: ModelAnswers, sums: Sums) -> Iterator[Convention]:
    for name, fixed_task, metric, unit in _REPORTED:
        task = fixed_task or sums.lm_eval
        n_units = sum(units for _, units in sums.pairs(task, metric))
        mean = sums.nats(task, metric) / n_units
        computed = math.log(mean / math.log(2)) if name == "bits_per_byte" else mean
        (measured,) = (measured for measured in answers.tasks[task].measurements if measured.metric == metric)
        low, high = interval(metric, measured.value, measured.stderr, measured.n)
        yield Convention(
            name=name,
            task=task,
            metric=metric,
            unit=unit,
            n_units=int(n_units),
            ln_value=computed if measured.value is None else math.log(measured.value),
            value=measured.value,
            stderr=measured.stderr,
            ci_low=low,
            ci_high=high,
        )
