"""Explain why perplexities of several models cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.analysis.perplexity.conventions import TextPerplexity


def comparability(measured: Sequence[TextPerplexity]) -> list[str]:
    """Return a sentence for each reason why the perplexities of several series cannot be compared."""
    first = {perplexity.series: perplexity for perplexity in reversed(measured)}
    notes = []
    if len({perplexity.tokenizer_id for perplexity in first.values()}) > 1:
        notes.append(
            f"{', '.join(first)} have different tokenizers: their perplexities can be compared per byte only"
            " (byte_perplexity, bits_per_byte)"
        )
    if len({perplexity.seqlen for perplexity in first.values()}) > 1:
        sizes = ", ".join(f"{name} {perplexity.seqlen}" for name, perplexity in first.items())
        shortest = min(perplexity.seqlen for perplexity in first.values())
        notes.append(
            f"windows differ in length ({sizes} tokens): for a fair comparison pass --seqlen {shortest}"
        )
    return notes
