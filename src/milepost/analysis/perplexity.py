"""One text in every convention of perplexity, and each gap between them as factors that multiply to it.

A perplexity is exp(nats / units). Between two conventions a chain of others is measured, each of which
differs from the one before it in one thing only; the ratio of two neighbours is the factor of that thing, and
the factors multiply to the gap because the chain is unbroken. Everything is kept as logarithms: nats per word
can be more than exp() has numbers for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from milepost.analysis.intervals import interval
from milepost.store.doc_records import ModelAnswers
from milepost.store.records import PlanRecord
from milepost.types import usual_stride

FIXED, STRIDED = "ppl_fixed", "ppl_strided"
TAIL, ROLLING, CONTEXT, BOS = "ppl_fixed_tail", "ppl_rolling", "ppl_rolling_context", "ppl_rolling_bos"
PLAIN, DOCUMENTS = "ppl_rolling_plain", "ppl_documents"

_LM_EVAL = {"wikitext2": "wikitext", "c4": "ppl_detokenised"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """One way to report the model's perplexity on the text."""

    name: str
    """`fixed`, `strided`, `strided_guide`, `word_perplexity`, `byte_perplexity` or `bits_per_byte`."""
    task: str
    metric: str
    unit: str
    """What it is per: `token`, `word` or `byte`."""
    n_units: int
    """How many of them."""
    ln_value: float
    """Natural logarithm of the figure."""
    value: float | None
    """The figure as lm_eval's aggregation gives it; None where it is beyond the largest number."""
    stderr: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """What one difference between two conventions does to the figure."""

    kind: str
    """`dropped tail`, `window/context`, `BOS`, `unit`, `join/detokenise`, `arithmetic` or `logarithm`."""
    change: str
    """What is different after it."""
    task: str
    """The task whose scores measure it."""
    ln_factor: float

    @property
    def factor(self) -> float | None:
        """None where it is beyond the largest number."""
        return _exp(self.ln_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """From one convention to another; the factors multiply to the ratio of the two."""

    start: str
    end: str
    ln_ratio: float
    """Logarithm of the ratio of the two figures as reported, whatever the factors are."""
    factors: tuple[Factor, ...]

    @property
    def ratio(self) -> float | None:
        return _exp(self.ln_ratio)

    @property
    def ln_product(self) -> float:
        return math.fsum(factor.ln_factor for factor in self.factors)

    def by_kind(self) -> dict[str, float]:
        """Logarithm of the product of the factors of each kind, in the order of the chain."""
        found: dict[str, list[float]] = {}
        for factor in self.factors:
            found.setdefault(factor.kind, []).append(factor.ln_factor)
        return {kind: math.fsum(logs) for kind, logs in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPerplexity:
    """One model on one text."""

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
    stride: int
    context: int
    """Tokens that the model can see at once."""
    n_windows: int
    """Fixed ones."""
    n_words: int
    """Of lm_eval's documents, before anything is joined or detokenised; so are the bytes."""
    n_bytes: int
    n_tokens: int | None
    """Of the text as the fixed windows have it; None unless the gaps were asked for."""
    conventions: tuple[Convention, ...]
    gaps: tuple[Gap, ...]
    """From `fixed` to each of the others; empty unless they were asked for."""

    def convention(self, name: str) -> Convention:
        """The one of that name; StopIteration where there is none."""
        return next(one for one in self.conventions if one.name == name)

    def value(self, name: str) -> float | None:
        """The figure of a convention, for example `value("word_perplexity")`."""
        return self.convention(name).value


def tasks_of(text: str, *, explain: bool = True) -> list[str]:
    """The tasks to run for a `TextPerplexity`: the conventions, and the chain that explains their gaps."""
    named = text in _LM_EVAL
    chain = [TAIL, ROLLING, CONTEXT, BOS, *([PLAIN, DOCUMENTS] if named else [])]
    return [FIXED, STRIDED, lm_eval_task(text), *(chain if explain else [])]


def lm_eval_task(text: str) -> str:
    """The task that gives lm_eval's own figures on a text."""
    return _LM_EVAL.get(text, DOCUMENTS)


def comparability(found: Sequence[TextPerplexity]) -> list[str]:
    """What keeps the figures of several models from being compared, a sentence each."""
    first = {one.series: one for one in reversed(found)}
    notes = []
    if len({one.tokenizer_id for one in first.values()}) > 1:
        names = ", ".join(first)
        notes.append(
            f"{names} have different tokenizers: their perplexities can be compared per byte only"
            " (byte_perplexity, bits_per_byte)"
        )
    if len({one.seqlen for one in first.values()}) > 1:
        sizes = ", ".join(f"{name} {one.seqlen}" for name, one in first.items())
        shortest = min(one.seqlen for one in first.values())
        notes.append(
            f"windows differ in length ({sizes} tokens): for like with like pass --seqlen {shortest}"
        )
    return notes


def is_of_text(plan: PlanRecord, text: str | None) -> bool:
    """Return whether a plan asks for every convention on a text (None: on whichever it has)."""
    described = plan.described
    if FIXED not in described or not set(needed_tasks(plan)) <= set(described):
        return False
    return text is None or text == described[FIXED]["parameters"]["text"]


def needed_tasks(plan: PlanRecord) -> list[str]:
    """Return the tasks of a plan without which there is no `TextPerplexity`."""
    return tasks_of(plan.described[FIXED]["parameters"]["text"], explain=False)


def text_perplexity(answers: ModelAnswers, plan: PlanRecord) -> TextPerplexity:
    """Return the perplexities of one model on the text of a plan.

    Args:
        answers: the model's, to this plan alone.
    """
    parameters = plan.described[FIXED]["parameters"]
    text, context = parameters["text"], plan.max_length
    units = _Sums(answers, lm_eval_task(text))
    fixed = _pairs(answers, FIXED, "token_perplexity")
    seqlen = int(fixed[0][1])
    chained = set(tasks_of(text)) <= set(answers.tasks)
    n_tokens = units.tokens(BOS) if chained else None
    conventions = tuple(_conventions(answers, units))
    return TextPerplexity(
        series=answers.series,
        checkpoint=answers.checkpoint,
        step=answers.step,
        source=answers.source,
        model_id=answers.model_id,
        numerics=answers.numerics,
        tokenizer_id=plan.tokenizer_id,
        text=text,
        seqlen=seqlen,
        stride=parameters["stride"] or usual_stride(seqlen),
        context=context,
        n_windows=len(fixed),
        n_words=units.n_words,
        n_bytes=units.n_bytes,
        n_tokens=n_tokens,
        conventions=conventions,
        gaps=tuple(_gaps(conventions, units, _Sizes(seqlen, context, text))) if chained else (),
    )


class _Sums:
    """Sums over a model's answers: nats and units of every task."""

    def __init__(self, answers: ModelAnswers, lm_eval: str) -> None:
        self._answers = answers
        self.lm_eval = lm_eval
        words = _pairs(answers, lm_eval, "word_perplexity")
        self.n_words = int(sum(n for _, n in words))
        self.n_bytes = int(sum(n for _, n in _pairs(answers, lm_eval, "byte_perplexity")))

    def nats(self, task: str) -> float:
        metric = "word_perplexity" if task in (self.lm_eval, DOCUMENTS) else "loss"
        return -math.fsum(loglikelihood for loglikelihood, _ in _pairs(self._answers, task, metric))

    def tokens(self, task: str) -> int:
        """Predicted ones."""
        return int(sum(n for _, n in _pairs(self._answers, task, "loss")))

    def per_token(self, task: str) -> float:
        return self.nats(task) / self.tokens(task)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What the sentences about a chain name."""

    seqlen: int
    context: int
    text: str


def _pairs(answers: ModelAnswers, task: str, metric: str) -> list[tuple[float, float]]:
    """[log-likelihood, weight] of each doc of a task."""
    (values,) = (found for (name, _), found in answers.tasks[task].values.items() if name == metric)
    return [(float(loglikelihood), float(weight)) for loglikelihood, weight in values]


_REPORTED = (
    ("fixed", FIXED, "token_perplexity", "token"),
    ("strided", STRIDED, "token_perplexity", "token"),
    ("strided_guide", STRIDED, "guide_perplexity", "token"),
    ("word_perplexity", None, "word_perplexity", "word"),
    ("byte_perplexity", None, "byte_perplexity", "byte"),
    ("bits_per_byte", None, "bits_per_byte", "byte"),
)


def _conventions(answers: ModelAnswers, units: _Sums) -> Iterator[Convention]:
    for name, own, metric, unit in _REPORTED:
        task = own or units.lm_eval
        pairs = _pairs(answers, task, metric)
        nats = -math.fsum(loglikelihood for loglikelihood, _ in pairs)
        mean = nats / sum(n for _, n in pairs)
        (figure,) = (one for one in answers.tasks[task].measurements if one.metric == metric)
        low, high = interval(metric, figure.value, figure.stderr, figure.n)
        yield Convention(
            name=name,
            task=task,
            metric=metric,
            unit=unit,
            n_units=int(sum(n for _, n in pairs)),
            ln_value=_reported_ln(
                figure.value, math.log(mean / math.log(2)) if name == "bits_per_byte" else mean
            ),
            value=figure.value,
            stderr=figure.stderr,
            ci_low=low,
            ci_high=high,
        )


def _reported_ln(value: float | None, computed: float) -> float:
    """Of the figure as reported; of the sums only where that is no number."""
    return computed if value is None else math.log(value)


def _gaps(conventions: Sequence[Convention], units: _Sums, sizes: _Sizes) -> Iterator[Gap]:
    ln = {one.name: one.ln_value for one in conventions}
    chains = {
        "word_perplexity": _to_documents(units, sizes, units.n_words, "word"),
        "byte_perplexity": _to_documents(units, sizes, units.n_bytes, "byte"),
        "bits_per_byte": [*_to_documents(units, sizes, units.n_bytes, "byte"), _as_bits(units)],
        "strided": _to_strided(units, sizes),
        "strided_guide": [*_to_strided(units, sizes), _as_in_the_guide(units, ln["strided_guide"])],
    }
    for name, factors in chains.items():
        yield Gap(start="fixed", end=name, ln_ratio=ln[name] - ln["fixed"], factors=tuple(factors))


def _to_documents(units: _Sums, sizes: _Sizes, n_units: int, unit: str) -> list[Factor]:
    """From fixed windows to lm_eval's figure: per token until every token is predicted, then per unit."""
    by_token = [
        (TAIL, "dropped tail", "what is left after the last window counts too"),
        (ROLLING, "window/context", "the first token of a window is predicted too, from the one before it"),
        (
            CONTEXT,
            "window/context",
            f"windows of {sizes.context:,} tokens (the context), not {sizes.seqlen:,}",
        ),
        (BOS, "BOS", "the text begins with BOS, from which its first token is predicted"),
    ]
    by_unit = [
        (PLAIN, "join/detokenise", f"documents strung together as they are, {_JOINED.get(sizes.text, '')}"),
        (DOCUMENTS, "window/context", "each document by itself, with nothing but BOS before it"),
        (units.lm_eval, "join/detokenise", "documents detokenised"),
    ]
    if sizes.seqlen == sizes.context:
        by_token = [link for link in by_token if link[0] != CONTEXT]
    factors = []
    before = units.per_token(FIXED)
    for task, kind, change in by_token:
        after = units.per_token(task)
        factors.append(Factor(kind=kind, change=change, task=task, ln_factor=after - before))
        before = after
    nats, n_tokens = units.nats(BOS), units.tokens(BOS)
    change = f"per {unit}, not per token: {n_tokens:,} tokens, {n_units:,} {unit}s"
    factors.append(Factor(kind="unit", change=change, task=BOS, ln_factor=nats / n_units - before))
    for task, kind, change in by_unit if sizes.text in _JOINED else ():
        after = units.nats(task)
        factors.append(Factor(kind=kind, change=change, task=task, ln_factor=(after - nats) / n_units))
        nats = after
    return factors


_JOINED = {"wikitext2": "not lines by blank lines", "c4": "not by spaces"}


def _to_strided(units: _Sums, sizes: _Sizes) -> list[Factor]:
    fixed, tail, strided = (units.per_token(task) for task in (FIXED, TAIL, STRIDED))
    return [
        Factor(
            kind="dropped tail",
            change="what is left after the last window counts too",
            task=TAIL,
            ln_factor=tail - fixed,
        ),
        Factor(
            kind="window/context",
            change="windows overlap, so that a token has more before it",
            task=STRIDED,
            ln_factor=strided - tail,
        ),
    ]


def _as_bits(units: _Sums) -> Factor:
    nats = units.nats(units.lm_eval) / units.n_bytes
    return Factor(
        kind="logarithm",
        change="the binary logarithm of byte_perplexity",
        task=units.lm_eval,
        ln_factor=math.log(nats / math.log(2)) - nats,
    )


def _as_in_the_guide(units: _Sums, ln_guide: float) -> Factor:
    return Factor(
        kind="arithmetic",
        change="each window but the first weighs one token less than it predicts",
        task=STRIDED,
        ln_factor=ln_guide - units.per_token(STRIDED),
    )


def _exp(ln: float) -> float | None:
    try:
        return math.exp(ln)
    except OverflowError:
        return None
