"""Task settings are parsed and checked."""

from __future__ import annotations

from typing import Any

import pytest

from milepost.errors import MilepostError
from milepost.tasks.settings import Seeds, TaskSettings


def test_a_single_seed_sets_all_four_generators() -> None:
    assert Seeds.parse("42") == Seeds(42, 42, 42, 42)
    assert Seeds.parse("0, None,8,52") == Seeds(0, None, 8, 52)
    assert Seeds() == Seeds.parse("0,1234,1234,1234")


@pytest.mark.parametrize("text", ["", "x", "1,2", "1,2,3,4,5", "1.5", "none"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(MilepostError, match="--seed"):
        Seeds.parse(text)


@pytest.mark.parametrize("limit", [0, -3, 2.5, float("inf"), float("nan"), -0.1])
def test_a_limit_selects_whole_docs_or_a_share(limit: float) -> None:
    with pytest.raises(MilepostError, match="--limit"):
        TaskSettings(names=("piqa",), limit=limit)


@pytest.mark.parametrize("limit", [1, 10.0, 0.25, None])
def test_a_valid_limit_is_kept(limit: float | None) -> None:
    assert TaskSettings(names=("piqa",), limit=limit).limit == limit


def test_few_shot_examples_are_a_conversation_only_with_a_chat_template() -> None:
    def multiturn(**given: Any) -> bool:
        return TaskSettings(names=("piqa",), **given).multiturn

    assert not multiturn()
    assert multiturn(apply_chat_template=True)
    assert not multiturn(apply_chat_template="named", fewshot_as_multiturn=False)
    assert multiturn(fewshot_as_multiturn=True)


def test_doc_ids_are_ascending_and_distinct() -> None:
    settings = TaskSettings(names=("piqa",), samples=(("piqa", (5, 1, 5)),))
    assert settings.samples_of("piqa") == [1, 5]
    assert settings.samples_of("rte") is None
