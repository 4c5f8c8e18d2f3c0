"""`measure_perplexity` does what `milepost ppl` does: one text, every convention, and why they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.analysis.perplexity import TextPerplexity, comparability, tasks_of
from milepost.api.evaluate import evaluate_config
from milepost.errors import MilepostError
from milepost.results.perplexity import read_perplexities
from milepost.run.config import EvalConfig, check_options
from milepost.run.display.timing import LongRunPolicy
from milepost.text.language import Phrase

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from milepost.api.results import Results
    from milepost.run.keyword_options import EvalOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexities:
    """Perplexities of all models."""

    results: Results
    found: tuple[TextPerplexity, ...]
    """The perplexities of each checkpoint that has metrics, by series and step."""
    notes: tuple[str, ...]
    """Reasons why the models' perplexities cannot be compared, a sentence each."""


def measure_perplexity(
    sources: str | Path | Sequence[str | Path],
    *,
    text: str = "wikitext2",
    seqlen: int | None = None,
    stride: int | None = None,
    explain: bool = True,
    ask: bool = False,
    **options: Unpack[EvalOptions],
) -> Perplexities:
    """Perplexities of every checkpoint of `sources` on one text; what is stored is not computed again.

    `measure_perplexity(["a", "b"], output_path="out", explain=False).found[0].value("word_perplexity")`

    Args:
        sources: as of `milepost.evaluate`.
        text: `wikitext2` (the test split), `c4` (what the pruning papers take of it), or a text file.
        seqlen: tokens per window; None for 2,048, or the model's context where that is shorter.
        stride: new tokens per sliding window; None for 512, or half of a window where that is shorter.
        explain: also measure what lies between the conventions (about twice the work), for `.gaps`.
        ask: whether to ask at the terminal before a run that takes long.
        options: as of `milepost.evaluate`; those of `milepost ppl`.

    Raises:
        MilepostError: something the caller can mend, with a hint; nothing has been written then.
    """
    asked = {"text": _full(text), "seqlen": seqlen, "stride": stride}
    parameters: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    check_options("ppl", options)
    given: EvalOptions = {**options, "metadata": parameters}
    config = EvalConfig.from_options(sources, tasks_of(parameters["text"], explain=explain), **given)
    results = evaluate_config(config, LongRunPolicy(ask=ask))
    only = {*results.scored, *results.reused}
    found = read_perplexities(results.index(), only=only)
    if not found and not results.failures:
        raise MilepostError(
            Phrase("{path} has no perplexities", path=results.path), "run the same command again"
        )
    return Perplexities(results=results, found=tuple(found), notes=tuple(comparability(found)))


def _full(text: str) -> str:
    """Return a file by its full path, so that it is the same text in every working folder."""
    path = Path(text)
    return str(path.resolve()) if path.is_file() and text not in ("wikitext2", "c4") else text
