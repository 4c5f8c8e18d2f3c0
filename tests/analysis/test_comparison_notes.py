"""Differences between the evaluations of two models are noted."""

from __future__ import annotations

from milepost.analysis.comparison import compare_models
from tests.analysis.answered import RIGHT, WORSE, model, right


def test_differences_in_the_settings_of_a_task_are_noted() -> None:
    prompts = ["other words"] * 3 + [f"a-{i}" for i in range(3, 200)]
    before = right("a", RIGHT, generation={"until": ["\n"], "max_gen_toks": 64})
    after = right("a", WORSE, prompts=prompts, generation={"until": ["\n"]}, version="2.0", num_fewshot=5)
    assert compare_models(model(before), model(after, model_id="1" * 64)).notes == (
        "a: version 1.0 of the task against version 2.0",
        "a: 0-shot against 5-shot",
        "a: texts with max_gen_toks 64 against not set",
        "a: 200 docs in common of 200 and 200",
        "a: 3 of the 200 docs in common with other prompts",
    )
    assert compare_models(model(before), model(before, model_id="1" * 64)).notes == ()
