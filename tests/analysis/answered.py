"""Answers made up for the tests of comparison: models, tasks and groups from plain arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from milepost.analysis.verdicts import MetricDifference
from milepost.types.answers import GroupAnswers, ModelAnswers, TaskAnswers
from tests.analysis.made import measurement

_RANDOM = np.random.default_rng(0)
RIGHT = _RANDOM.random(200) < 0.7
WORSE = RIGHT & (_RANDOM.random(200) < 0.8)


def task(
    name: str,
    *,
    metric: str = "acc",
    values: Any,
    stored: float | None = None,
    docs: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    generation: Mapping[str, Any] | None = None,
    parents: tuple[str, ...] = (),
    version: str = "1.0",
    numerics: str = "float32-v1",
    num_fewshot: int = 0,
    **changes: Any,
) -> TaskAnswers:
    """Return a task with one metric: the mean of its values, or `stored`."""
    hashes = tuple(docs) if docs is not None else tuple(f"{name}-{i}" for i in range(len(values)))
    worded, doc_ids = hashes if prompts is None else tuple(prompts), np.arange(len(values))
    value = float(np.mean([v for v in values if v is not None])) if stored is None else stored
    own = measurement(task=name, metric=metric, value=value, n=len(values), parents=parents, **changes)
    return TaskAnswers(
        name=name,
        task_id=name,
        docs_id=f"{name}-{hash((hashes, worded))}",
        counted_id=name,
        numerics=numerics,
        version=version,
        num_fewshot=num_fewshot,
        measurements=(own,),
        hashes=lambda: hashes,
        prompt_hashes=lambda: worded,
        doc_ids=doc_ids,
        generation=generation or {},
        values={(metric, "none"): list(values)},
        texts=lambda filter, doc_ids: [],
    )


def right(name: str, answers: Any, **more: Any) -> TaskAnswers:
    return task(name, values=[float(one) for one in answers], **more)


def perplexity(
    name: str, nats: Sequence[float], words: Sequence[float], *, metric: str = "word_perplexity", **more: Any
) -> TaskAnswers:
    """A rolling task whose docs have log-likelihoods of -nats over so many words."""
    value = math.exp(sum(nats) / sum(words))
    pairs = [[-n, w] for n, w in zip(nats, words, strict=True)]
    return task(name, metric=metric, values=pairs, stored=value, higher_is_better=False, chance=None, **more)


def group(name: str, tasks: Sequence[TaskAnswers], *, by_size: bool = True) -> GroupAnswers:
    values: list[Any] = [part.measurements[0].value for part in tasks]
    sizes = [part.n_docs if by_size else 1 for part in tasks]
    own = measurement(task=name, value=float(np.average(values, weights=sizes)), kind="group", n=sum(sizes))
    return GroupAnswers(
        name=name,
        measurements=(own,),
        tasks=tuple(part.name for part in tasks),
        by_size={"acc": by_size},
        members={part.name: part for part in tasks},
    )


def model(
    *tasks: TaskAnswers, groups: Sequence[GroupAnswers] = (), tokenizer: str = "gpt2", **changes: Any
) -> ModelAnswers:
    named: Mapping[str, Any] = {
        "results": Path("results"),
        "series": "run",
        "checkpoint": "main",
        "step": None,
        "source": "models/one",
        "model_id": "0" * 64,
        "numerics": "float32-v1",
        **changes,
    }
    return ModelAnswers(
        tokenizer_ids=frozenset({tokenizer}),
        tasks={part.name: part for part in tasks},
        groups={group.name: group for group in groups},
        **named,
    )


def grouped(answers: np.ndarray, *, by_size: bool) -> Any:
    tasks = [
        right("easy", answers[:150], parents=("exam",)),
        right("hard", answers[150:], parents=("exam",)),
    ]
    return model(*tasks, groups=[group("exam", tasks, by_size=by_size)])


def only(found: tuple[MetricDifference, ...]) -> MetricDifference:
    (one,) = found
    return one
