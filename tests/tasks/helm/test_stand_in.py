"""The tokenizer service that HELM's code asks: HELM's tokens, encoded faster where that is safe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

from milepost.plan.piecewise_bpe import encoder_of
from milepost.tasks.question_source import ModelTraits

EXAMPLES = "".join(f"Question: what is {n}?\nA. it\nB. that's {n}\nAnswer: B\n\n" for n in range(5))
PROMPTS = [f"{EXAMPLES}Question: Ünïcode {n}?\n\n\nA.  x\n\tB. <s>\nAnswer:" for n in range(40)]


@pytest.fixture
def tokenizer(run_folder: Path, helm_environment: object) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(run_folder / "step-400")


def ids(tokenizer: Any, number: int, encode: Callable[[str], list[int]] | None) -> tuple[list[Any], int]:
    """Return the tokens of each prompt, and how many of HELM's own encodings they took."""
    from helm.common.tokenization_request import TokenizationRequest

    from milepost.tasks.helm.stand_in import StandIn

    def encoder(_: Any) -> Callable[[str], list[int]] | None:
        return encode

    traits = ModelTraits(
        load_tokenizer=lambda: tokenizer,
        tokenizer_id=f"{number}" * 32,
        max_length=512,
        encoder_of=encoder,
    )
    stand_in = StandIn.register(traits)
    asked: list[str] = []
    by_helm = stand_in.service._tokenizer._tokenize_do_it
    stand_in.service._tokenizer._tokenize_do_it = lambda request: (asked.append(request), by_helm(request))[1]
    requests = [TokenizationRequest(text, stand_in.name, encode=True, max_length=512) for text in PROMPTS]
    return [[token.value for token in stand_in.service.tokenize(one).tokens] for one in requests], len(asked)


def test_tokens_are_helms_own_and_what_prompts_share_is_encoded_once(tokenizer: Any) -> None:
    helms, n_of_helm = ids(tokenizer, 3, None)
    faster, n_compared = ids(tokenizer, 4, encoder_of(tokenizer))
    assert faster == helms
    assert len(PROMPTS) == n_of_helm > 2 * n_compared > 0


def test_an_encoder_that_errs_is_not_asked_again(tokenizer: Any) -> None:
    helms, n_of_helm = ids(tokenizer, 5, None)
    right = encoder_of(tokenizer)
    assert right is not None
    n_asked = 0

    def erring(text: str) -> list[int]:
        nonlocal n_asked
        n_asked += 1
        return right(text)[: -1 if n_asked == 3 else None]

    found, n_asked_of_helm = ids(tokenizer, 6, erring)
    assert found == helms
    assert n_asked_of_helm == n_of_helm
    assert n_asked == 3


def test_a_text_that_is_cut_to_the_window_is_cut_by_helm(tokenizer: Any) -> None:
    from helm.benchmark.window_services.window_service_factory import WindowServiceFactory

    from milepost.tasks.helm.stand_in import StandIn

    cut = []
    for number, faster in ((7, lambda _: None), (8, encoder_of)):
        traits = ModelTraits(
            load_tokenizer=lambda: tokenizer, tokenizer_id=f"{number}" * 32, max_length=64, encoder_of=faster
        )
        stand_in = StandIn.register(traits)
        windows = WindowServiceFactory.get_window_service(stand_in.name, stand_in.service)
        cut.append([windows.truncate_from_right(text, 5) for text in PROMPTS])
    assert cut[0] == cut[1]
    assert all(len(text) < len(prompt) for text, prompt in zip(cut[1], PROMPTS, strict=True))
