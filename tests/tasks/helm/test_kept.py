"""Kept results of HELM's functions: the same statistics from fewer calls, and HELM as it was afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

from milepost.tasks.helm.entries import Entry
from milepost.tasks.question_source import ModelTraits

from .conftest import MMLU, SEPARATE

if TYPE_CHECKING:
    from helm.benchmark.adaptation.request_state import RequestState
    from helm.common.request import RequestResult

    from milepost.tasks.helm.run_specs import NamedRun
    from milepost.tasks.helm.stand_in import StandIn

ENTRIES = (
    MMLU,
    SEPARATE,
    "narrative_qa:max_train_instances=1,data_augmentation=canonical",
    "boolq:max_train_instances=1,num_train_trials=2,num_outputs=2,data_augmentation=contrast_sets",
)
"""A joint and a separate choice, texts with perturbations, several trials and completions."""


@pytest.fixture(scope="module")
def stand_in(run_folder: Path, helm_environment: object) -> StandIn:
    from transformers import AutoTokenizer

    from milepost.tasks.helm.stand_in import StandIn

    return StandIn.register(
        ModelTraits(
            load_tokenizer=lambda: AutoTokenizer.from_pretrained(run_folder / "step-400"),
            tokenizer_id="2" * 32,
            max_length=1024,
        )
    )


def made(entry: str, stand_in: StandIn, data: Path) -> tuple[NamedRun, list[RequestState]]:
    """Return a run of few instances and its request states, answered with some words of their references."""
    from milepost.tasks.helm.run_specs import Overrides, make_runs
    from milepost.tasks.helm.states import adapt

    (run,) = make_runs(Entry(entry), stand_in.name, Overrides(max_eval_instances=4), data).values()
    states = adapt(entry, run.run_spec, stand_in, data).states
    answered = [dataclasses.replace(state, result=_answer(state, i)) for i, state in enumerate(states)]
    return run, sorted(answered, key=lambda state: state.train_trial_index)


def _answer(state: RequestState, number: int) -> RequestResult:
    from helm.common.request import GeneratedOutput, RequestResult, Token

    right = state.instance.all_correct_references[0].output.text.split()
    texts = [" ".join(right[number % 2 : 4 + k]) + " The dogs are running." * k for k in range(2)]
    if state.output_mapping:
        letters = {text: letter for letter, text in state.output_mapping.items()}
        texts = [letters[" ".join(right)] if number % 2 else "A", "B"]
    tokens = [Token(word, -0.5) for word in state.request.prompt.split()]
    completions = [
        GeneratedOutput(text, -1.5 - number % 3 - k, tokens)
        for k, text in enumerate(texts[: state.request.num_completions])
    ]
    return RequestResult(success=True, embedding=[], completions=completions, cached=False)


def computed(run: NamedRun, states: list[RequestState], stand_in: StandIn, data: Path) -> list[Any]:
    """Return the statistics of the run and of its instances as HELM writes them."""
    from helm.common.general import asdict_without_nones

    from milepost.tasks.helm.stats import compute_stats

    found = compute_stats(run.run_spec, states, stand_in, data)
    return [asdict_without_nones(one) for one in (*found.stats, *found.per_instance)]


@pytest.mark.parametrize("entry", ENTRIES)
def test_statistics_are_those_of_helm_that_keeps_nothing(
    entry: str, stand_in: StandIn, helm_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, states = made(entry, stand_in, helm_data)
    first, again = (computed(run, states, stand_in, helm_data) for _ in range(2))
    monkeypatch.setattr("milepost.tasks.helm.stats.keeping", contextlib.nullcontext)
    plain = computed(run, states, stand_in, helm_data)
    assert any(stat["mean"] > 0 for stat in plain if stat.get("name", {}).get("name") in SCORES)
    assert repr(first) == repr(plain)
    assert repr(again) == repr(plain)


SCORES = ("f1_score", "rouge_l", "exact_match", "quasi_exact_match")


def test_a_text_is_cut_into_words_once_for_all_scores_and_checkpoints(
    stand_in: StandIn, helm_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helm.benchmark.metrics import evaluate_reference_metrics

    from milepost.tasks.helm import kept

    cut: list[str] = []
    tokenize = evaluate_reference_metrics.word_tokenize

    def noted(text: str) -> list[str]:
        cut.append(text)
        words: list[str] = tokenize(text)
        return words

    monkeypatch.setattr(kept, "_remembering", functools.cache(kept._remembering.__wrapped__))
    monkeypatch.setattr(evaluate_reference_metrics, "word_tokenize", noted)
    run, states = made("narrative_qa:max_train_instances=2", stand_in, helm_data)
    computed(run, states, stand_in, helm_data)
    computed(run, states, stand_in, helm_data)
    assert cut
    assert len(cut) == len(set(cut))


def test_helm_is_as_it_was_after_the_block_even_where_a_metric_raises(stand_in: StandIn) -> None:
    from helm.benchmark.metrics import evaluate_reference_metrics, metric
    from helm.benchmark.window_services.window_service_factory import WindowServiceFactory

    from milepost.tasks.helm.kept import OF_TEXTS, keeping

    def functions() -> Iterator[Any]:
        names = OF_TEXTS[evaluate_reference_metrics.__name__]
        yield from (vars(evaluate_reference_metrics)[name] for name in names)
        yield from (vars(metric)["replace"], vars(WindowServiceFactory)["get_window_service"])

    before = list(functions())
    inside: list[Any] = []

    def raising() -> None:
        with keeping():
            inside.extend(functions())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        raising()
    assert all(now is not then for now, then in zip(inside, before, strict=True))
    assert all(now is then for now, then in zip(functions(), before, strict=True))
