"""The report of `milepost ppl`: a text's perplexities in every convention, and each gap as factors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from milepost.analysis.perplexity import Convention, Gap, TextPerplexity
from milepost.report.blocks import Block, Note, strong
from milepost.report.formatting import decimals, model_name, plus_minus, step_label
from milepost.report.table import Column, Table, cells, columns, grouped
from milepost.text.language import Phrase, _, joined
from milepost.text.safe_text import printable

LABELS = {
    "fixed": Phrase("fixed windows"),
    "strided": Phrase("strided windows"),
    "strided_guide": Phrase("strided, transformers' guide"),
    "word_perplexity": Phrase("lm_eval word_perplexity"),
    "byte_perplexity": Phrase("lm_eval byte_perplexity"),
    "bits_per_byte": Phrase("lm_eval bits_per_byte"),
}

UNITS = {"token": Phrase("token"), "word": Phrase("word"), "byte": Phrase("byte")}


def perplexity_records(found: Sequence[TextPerplexity]) -> list[dict[str, Any]]:
    """Return everything as plain mappings, for JSON; ratios and factors beside their logarithms."""
    return [_record(text) for text in found]


def perplexity_report(found: Sequence[TextPerplexity], *, short: bool = False) -> Iterator[Block]:
    """Yield a sentence, the conventions as a table, the text, and the gaps at the last checkpoints.

    Args:
        short: only the sentence and the table.
    """
    by_series = grouped(found, lambda text: text.series)
    yield perplexity_summary(found)
    yield ""
    if len(found) <= 2 or len(by_series) == len(found):
        yield from (_models_table(found), "")
    else:
        for own in by_series.values():
            yield from (_steps_table(own), "")
    if short:
        return
    yield from (Note(_heading(own[-1])) for own in by_series.values())
    yield ""
    for own in by_series.values():
        yield from _explanation(own[-1])


def perplexity_summary(found: Sequence[TextPerplexity]) -> str:
    """Return in a sentence how high the perplexities are, or how two models differ."""
    first, last = found[0], found[-1]
    fixed, words = (last.convention(name) for name in ("fixed", "word_perplexity"))
    if len(found) == 1:
        return _(
            "{model} has a perplexity of {fixed} per token (fixed windows) and {words} per word (lm_eval)",
            model=_name(last),
            fixed=_value(fixed),
            words=_value(words),
        )
    before = first.convention("fixed")
    ratio = math.exp(min(700.0, fixed.ln_value - before.ln_value))
    return _(
        "{model} has {ratio} times the perplexity of {other} per token: {fixed} against {before} in fixed "
        "windows",
        model=_name(last),
        ratio=format(ratio, ".4g"),
        other=_name(first),
        fixed=_value(fixed),
        before=_value(before),
    )


def _name(text: TextPerplexity) -> str:
    return model_name(text.series, text.checkpoint)


def _heading(text: TextPerplexity) -> str:
    counts = [Phrase("{n:,} words", n=text.n_words), Phrase("{n:,} bytes", n=text.n_bytes)]
    if text.n_tokens is not None:
        counts.append(Phrase("{n:,} tokens", n=text.n_tokens))
    return Phrase(
        "{text} for {series}: {counts}; {n_windows:,} windows of {seqlen:,}, stride {stride:,}, context "
        "{context:,}",
        text=printable(text.text),
        series=printable(text.series),
        counts=joined(", ", counts),
        n_windows=text.n_windows,
        seqlen=text.seqlen,
        stride=text.stride,
        context=text.context,
    )


def _models_table(found: Sequence[TextPerplexity]) -> Table:
    """Return conventions down, models across; two models with their ratio."""
    with_ratio = len(found) == 2
    rows = []
    for convention in found[0].conventions:
        same = [text.convention(convention.name) for text in found]
        ratio = [f"{math.exp(same[1].ln_value - same[0].ln_value):.4f}"] if with_ratio else []
        rows.append(
            [LABELS[convention.name], UNITS[convention.unit], *map(_value_and_interval, same), *ratio]
        )
    return Table(
        (
            *columns("convention", "per", left=("convention", "per")),
            *(Column(_name(text), _heading_of(text)) for text in found),
            *(columns("ratio") if with_ratio else ()),
        ),
        tuple(map(cells, rows)),
    )


def _heading_of(text: TextPerplexity) -> str:
    return "\n".join(dict.fromkeys(map(printable, (text.series, text.checkpoint))))


def _steps_table(own: Sequence[TextPerplexity]) -> Table:
    """Return checkpoints down, conventions across."""
    shown = [convention.name for convention in own[0].conventions if convention.name != "strided_guide"]
    headings = {name: LABELS[name] for name in shown}
    rows = [
        [step_label(text.step, text.checkpoint), *(_value(text.convention(name)) for name in shown)]
        for text in own
    ]
    return Table(
        columns("step", *shown, headings=headings), tuple(map(cells, rows)), title=printable(own[0].series)
    )


def _explanation(text: TextPerplexity) -> Iterator[Block]:
    for gap in text.gaps:
        start, end = text.convention(gap.start), text.convention(gap.end)
        yield strong(
            Phrase(
                "{model}: {from_} {start} → {to} {end}",
                model=_name(text),
                from_=LABELS[start.name],
                start=_value(start),
                to=LABELS[end.name],
                end=_value(end),
            )
        )
        if end.name == "bits_per_byte":
            yield Phrase("the binary logarithm of byte_perplexity: log2(x) = ln(x) / ln(2)")
        else:
            yield _factors_table(gap)
            by_kind = [joined(" × ", (kind, _factor(ln))) for kind, ln in gap.by_kind().items()]
            yield Phrase("together: {factors}", factors=joined(", ", by_kind))
        yield ""


def _factors_table(gap: Gap) -> Table:
    rows = [
        (
            f"× {_factor(factor.ln_factor)}",
            decimals(factor.ln_factor, 5, sign=True),
            factor.kind,
            factor.change,
        )
        for factor in gap.factors
    ]
    ratio = Phrase("the ratio of the two perplexities is {ratio}", ratio=_factor(gap.ln_ratio))
    return Table(
        columns("factor", "nats", "of", "what changes", left=("of",), wraps=("what changes",)),
        tuple(map(cells, rows)),
        footer=(cells([f"= {_factor(gap.ln_product)}", decimals(gap.ln_product, 5, sign=True), "", ratio]),),
    )


def _factor(ln: float) -> str:
    """Return a factor with enough digits to be multiplied by hand."""
    return f"e^{ln:.5f}" if abs(ln) > 16 else f"{math.exp(ln):#.6g}"


def _value(convention: Convention) -> str:
    if convention.value is None:
        return f"e^{convention.ln_value:.2f}"
    return plus_minus(convention.value, None, None, convention.metric)


def _value_and_interval(convention: Convention) -> str:
    if convention.value is None:
        return _value(convention)
    return plus_minus(convention.value, convention.ci_low, convention.ci_high, convention.metric)


def _record(text: TextPerplexity) -> dict[str, Any]:
    record = asdict(text)
    record["conventions"] = {convention.pop("name"): convention for convention in record["conventions"]}
    record["gaps"] = [_gap_record(gap) for gap in text.gaps]
    return record


def _gap_record(gap: Gap) -> dict[str, Any]:
    return {
        "from": gap.start,
        "to": gap.end,
        "ratio": gap.ratio,
        "ln_ratio": gap.ln_ratio,
        "ln_product": gap.ln_product,
        "by_kind": {kind: {"ln_factor": ln} for kind, ln in gap.by_kind().items()},
        "factors": [
            {
                "kind": factor.kind,
                "change": factor.change,
                "factor": factor.factor,
                "ln_factor": factor.ln_factor,
                "measured_by": factor.task,
            }
            for factor in gap.factors
        ],
    }
