"""Split the gap between two perplexity conventions into factors.

A perplexity is exp(nats / units). Between two conventions lies a chain of measured ones, each of which
differs from the one before in one thing only. The ratio of two neighbours is the factor of that thing, and
the factors multiply to the gap because the chain is unbroken. Values are kept as logarithms, because nats per
word can be too large for exp().
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from milepost.analysis.perplexity.sums import Sums
from milepost.analysis.perplexity.tasks import BOS, CONTEXT, DOCUMENTS, FIXED, PLAIN, ROLLING, STRIDED, TAIL
from milepost.text.language import Phrase

_JOINED = {
    "wikitext2": Phrase("documents strung together as they are, not lines by blank lines"),
    "c4": Phrase("documents strung together as they are, not by spaces"),
}
_PER_UNIT = {
    "word": Phrase("per word, not per token: {n_tokens:,} tokens, {n_units:,} words"),
    "byte": Phrase("per byte, not per token: {n_tokens:,} tokens, {n_units:,} bytes"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """The effect of one difference between two conventions on the value."""

    kind: str
    """`dropped tail`, `window/context`, `BOS`, `unit`, `join/detokenise`, `arithmetic` or `logarithm`."""
    change: str
    """The difference, in words."""
    task: str
    """The task whose scores measure it."""
    ln_factor: float

    @property
    def factor(self) -> float | None:
        """The factor; None if it is too large for a float."""
        return _exp(self.ln_factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The gap from one convention to another; the factors multiply to their ratio."""

    start: str
    end: str
    ln_ratio: float
    """Logarithm of the ratio of the two reported values, whatever the factors are."""
    factors: tuple[Factor, ...]

    @property
    def ratio(self) -> float | None:
        """The ratio; None if it is too large for a float."""
        return _exp(self.ln_ratio)

    @property
    def ln_product(self) -> float:
        """Logarithm of the product of all factors."""
        return math.fsum(factor.ln_factor for factor in self.factors)

    def by_kind(self) -> dict[str, float]:
        """Return the logarithm of the product of the factors of each kind, in the order of the chain."""
        logs_of: dict[str, list[float]] = {}
        for factor in self.factors:
            logs_of.setdefault(factor.kind, []).append(factor.ln_factor)
        return {kind: math.fsum(logs) for kind, logs in logs_of.items()}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes and text that are named in the sentences of a chain."""

    seqlen: int
    context: int
    text: str


def gaps(ln_values: Mapping[str, float], sums: Sums, sizes: Sizes) -> Iterator[Gap]:
    """Yield the gap from `fixed` to each other convention, with its factors.

    Args:
        ln_values: logarithm of the value of each convention, by name.
    """
    chains = {
        "word_perplexity": _to_documents(sums, sizes, sums.n_words, "word"),
        "byte_perplexity": _to_documents(sums, sizes, sums.n_bytes, "byte"),
        "bits_per_byte": [*_to_documents(sums, sizes, sums.n_bytes, "byte"), _as_bits(sums)],
        "strided": _to_strided(sums),
        "strided_guide": [*_to_strided(sums), _as_in_the_guide(sums, ln_values["strided_guide"])],
    }
    for name, factors in chains.items():
        yield Gap(
            start="fixed", end=name, ln_ratio=ln_values[name] - ln_values["fixed"], factors=tuple(factors)
        )


def _to_documents(sums: Sums, sizes: Sizes, n_units: int, unit: str) -> list[Factor]:
    """List the factors from fixed windows to lm_eval's value: per token up to BOS, then per unit."""
    by_token: list[tuple[str, str, str]] = [
        (TAIL, Phrase("dropped tail"), Phrase("what is left after the last window counts too")),
        (
            ROLLING,
            Phrase("window/context"),
            Phrase("the first token of a window is predicted too, from the one before it"),
        ),
        (
            CONTEXT,
            "window/context",
            Phrase(
                "windows of {context:,} tokens (the context), not {seqlen:,}",
                context=sizes.context,
                seqlen=sizes.seqlen,
            ),
        ),
        (BOS, Phrase("BOS"), Phrase("the text begins with BOS, from which its first token is predicted")),
    ]
    by_unit: list[tuple[str, str, str]] = [
        (PLAIN, Phrase("join/detokenise"), _JOINED.get(sizes.text, "")),
        (
            DOCUMENTS,
            Phrase("window/context"),
            Phrase("each document by itself, with nothing but BOS before it"),
        ),
        (sums.lm_eval, Phrase("join/detokenise"), Phrase("documents detokenised")),
    ]
    if sizes.seqlen == sizes.context:
        by_token = [link for link in by_token if link[0] != CONTEXT]
    factors = []
    before = sums.per_token(FIXED)
    for task, kind, change in by_token:
        after = sums.per_token(task)
        factors.append(Factor(kind=kind, change=change, task=task, ln_factor=after - before))
        before = after
    nats, n_tokens = sums.nats(BOS), sums.tokens(BOS)
    per_unit = Phrase(_PER_UNIT[unit], n_tokens=n_tokens, n_units=n_units)
    factors.append(Factor(kind=Phrase("unit"), change=per_unit, task=BOS, ln_factor=nats / n_units - before))
    for task, kind, change in by_unit if sizes.text in _JOINED else ():
        after = sums.nats(task)
        factors.append(Factor(kind=kind, change=change, task=task, ln_factor=(after - nats) / n_units))
        nats = after
    return factors


def _to_strided(sums: Sums) -> list[Factor]:
    fixed, tail, strided = (sums.per_token(task) for task in (FIXED, TAIL, STRIDED))
    return [
        Factor(
            kind=Phrase("dropped tail"),
            change=Phrase("what is left after the last window counts too"),
            task=TAIL,
            ln_factor=tail - fixed,
        ),
        Factor(
            kind=Phrase("window/context"),
            change=Phrase("windows overlap, so that a token has more before it"),
            task=STRIDED,
            ln_factor=strided - tail,
        ),
    ]


def _as_bits(sums: Sums) -> Factor:
    nats = sums.nats(sums.lm_eval) / sums.n_bytes
    return Factor(
        kind=Phrase("logarithm"),
        change=Phrase("the binary logarithm of byte_perplexity"),
        task=sums.lm_eval,
        ln_factor=math.log(nats / math.log(2)) - nats,
    )


def _as_in_the_guide(sums: Sums, ln_guide: float) -> Factor:
    return Factor(
        kind=Phrase("arithmetic"),
        change=Phrase("each window but the first weighs one token less than it predicts"),
        task=STRIDED,
        ln_factor=ln_guide - sums.per_token(STRIDED),
    )


def _exp(ln: float) -> float | None:
    try:
        return math.exp(ln)
    except OverflowError:
        return None
