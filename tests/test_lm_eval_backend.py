"""lm_eval with the model `milepost` gives what lm_eval gives with `hf`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import milepost.lm_eval_backend
from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.loading import task_manager
from tests.lm_eval_runs import simple_evaluate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(hub: str, shared: Path) -> dict[str, dict[str, Any]]:
    torch.set_num_threads(1)
    folder = shared / "hub" / "models" / "tiny" / "english-4m" / "step-1600"
    found = {}
    for model in ("hf", "milepost"):
        found[model] = simple_evaluate(
            model=model,
            model_args=f"pretrained={folder},dtype=float32,device=cpu",
            tasks=["arc_easy", "lambada_openai", "wikitext", "squadv2"],
            samples={
                "arc_easy": [0, 1, 2, 3],
                "lambada_openai": [0, 1, 2, 3],
                "wikitext": [40, 41],
                "squadv2": [0, 1, 2],
            },
            task_manager=task_manager(load_catalog()),
            bootstrap_iters=0,
        )
    return found


def test_the_figures_are_those_of_hf(both: dict[str, dict[str, Any]]) -> None:
    for task, figures in both["hf"]["results"].items():
        for key, value in figures.items():
            if isinstance(value, float):
                assert both["milepost"]["results"][task][key] == pytest.approx(value, rel=1e-5), (task, key)


def test_every_answer_is_that_of_hf(both: dict[str, dict[str, Any]]) -> None:
    for task, samples in both["hf"]["samples"].items():
        for ours, theirs in zip(both["milepost"]["samples"][task], samples, strict=True):
            for (mine,), (expected,) in zip(ours["resps"], theirs["resps"], strict=True):
                if isinstance(expected, str):
                    assert mine == expected
                elif isinstance(expected, float):
                    assert mine == pytest.approx(expected, rel=1e-6)
                else:
                    assert mine[0] == pytest.approx(expected[0], abs=1e-4)
                    assert mine[1] == expected[1]


def test_the_result_names_the_engine(both: dict[str, dict[str, Any]]) -> None:
    assert both["milepost"]["config"]["milepost_engine"] == "packed"
    assert both["milepost"]["config"]["milepost_fallback"] is None


def test_the_command_is_the_command_line_of_lm_eval(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from milepost.cli.main import main

    monkeypatch.setattr("sys.argv", ["milepost", "lm-eval", "run", "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert "--num_fewshot" in capsys.readouterr().out


def test_the_model_is_registered_by_import_alone() -> None:
    from lm_eval.api.registry import get_model

    assert get_model("milepost") is milepost.lm_eval_backend.MilepostLM
