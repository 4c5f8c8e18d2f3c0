"""List how two compared evaluations differ: tokenizers, dtypes, settings, prompts, docs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from milepost.analysis.matching import CommonDocs, MatchedModels
from milepost.text.language import Phrase, joined
from milepost.types.answers import TaskAnswers


def comparison_notes(matched: MatchedModels, *, same_tokenizer: bool) -> Iterator[str]:
    """Yield a sentence for each difference between the evaluations of two models."""
    original, other = matched.original, matched.other
    if not same_tokenizer:
        yield Phrase(
            "the models have different tokenizers: tasks are compared by docs, "
            "perplexities only per byte (byte_perplexity, bits_per_byte)"
        )
    if original.model_id == other.model_id:
        yield Phrase("both are the same weights")
    dtypes = {
        (original.tasks[name].numerics.split("-")[0], other.tasks[name].numerics.split("-")[0])
        for name in matched.docs
    }
    yield from (
        Phrase("computed in {one} and in {other}", one=one, other=another)
        for one, another in sorted(dtypes)
        if one != another
    )
    for name, common in matched.docs.items():
        for difference in _task_differences(original.tasks[name], other.tasks[name], common):
            yield joined(": ", (name, difference))


def _task_differences(original: TaskAnswers, other: TaskAnswers, common: CommonDocs) -> Iterator[str]:
    if original.version != other.version:
        yield Phrase(
            "version {one} of the task against version {other}", one=original.version, other=other.version
        )
    if original.num_fewshot != other.num_fewshot:
        yield Phrase("{one}-shot against {other}-shot", one=original.num_fewshot, other=other.num_fewshot)
    for key in sorted({*original.generation, *other.generation}):
        settings = [_setting(task.generation, key) for task in (original, other)]
        if settings[0] != settings[1]:
            yield Phrase(
                "texts with {key} {one} against {other}", key=key, one=settings[0], other=settings[1]
            )
    sizes, n = (original.n_docs, other.n_docs), len(common.original)
    if n and (sizes != (n, n) or original.version != other.version):
        yield Phrase("{n} docs in common of {one} and {other}", n=n, one=sizes[0], other=sizes[1])
    if original.docs_id == other.docs_id:
        return
    prompts, other_prompts = original.prompt_hashes(), other.prompt_hashes()
    n_reworded = sum(
        prompts[i] != other_prompts[j] for i, j in zip(common.original, common.other, strict=True)
    )
    if n_reworded:
        yield Phrase("{n} of the {all} docs in common with other prompts", n=n_reworded, all=n)


def _setting(generation: Mapping[str, Any], key: str) -> str:
    return json.dumps(generation[key], ensure_ascii=False) if key in generation else Phrase("not set")
