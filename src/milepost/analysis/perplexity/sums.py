"""Sum nats and units over the docs of the perplexity tasks."""

from __future__ import annotations

import math

from milepost.analysis.perplexity.tasks import DOCUMENTS
from milepost.types.answers import ModelAnswers


class Sums:
    """Sums over a model's docs: nats, tokens, words and bytes of every task."""

    def __init__(self, answers: ModelAnswers, lm_eval: str) -> None:
        self._answers = answers
        self.lm_eval = lm_eval
        """The task with lm_eval's own metrics."""
        self.n_words = self.units(lm_eval, "word_perplexity")
        self.n_bytes = self.units(lm_eval, "byte_perplexity")

    def pairs(self, task: str, metric: str) -> list[tuple[float, float]]:
        """Return [log-likelihood, units] of each doc of a task."""
        (values,) = (
            values for (name, _), values in self._answers.tasks[task].values.items() if name == metric
        )
        return [(float(loglikelihood), float(units)) for loglikelihood, units in values]

    def units(self, task: str, metric: str) -> int:
        """Return the number of units (tokens, words or bytes) of a metric."""
        return int(sum(units for _, units in self.pairs(task, metric)))

    def nats(self, task: str, metric: str | None = None) -> float:
        """Return the negative log-likelihood of a task in nats."""
        if metric is None:
            metric = "word_perplexity" if task in (self.lm_eval, DOCUMENTS) else "loss"
        return -math.fsum(loglikelihood for loglikelihood, _ in self.pairs(task, metric))

    def tokens(self, task: str) -> int:
        """Return the number of predicted tokens of a task."""
        return self.units(task, "loss")

    def per_token(self, task: str) -> float:
        """Return the nats per predicted token of a task."""
        return self.nats(task) / self.tokens(task)
