"""Names of the perplexity tasks, and which of them a text needs."""

from __future__ import annotations

FIXED, STRIDED = "ppl_fixed", "ppl_strided"
TAIL, ROLLING, CONTEXT, BOS = "ppl_fixed_tail", "ppl_rolling", "ppl_rolling_context", "ppl_rolling_bos"
PLAIN, DOCUMENTS = "ppl_rolling_plain", "ppl_documents"

_LM_EVAL = {"wikitext2": "wikitext", "c4": "ppl_detokenised"}


def tasks_of(text: str, *, explain: bool = True) -> list[str]:
    """Return the tasks of a text: those of the conventions, and with `explain` those between them."""
    chain = [TAIL, ROLLING, CONTEXT, BOS, *([PLAIN, DOCUMENTS] if text in _LM_EVAL else [])]
    return [FIXED, STRIDED, lm_eval_task(text), *(chain if explain else [])]


def lm_eval_task(text: str) -> str:
    """Return the task with lm_eval's own metrics of a text."""
    return _LM_EVAL.get(text, DOCUMENTS)
