"""An exception in a model's forward pass is named with task, doc and request, and everything else goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers.models.llama.modeling_llama import LlamaModel

from tests.cli.called import milepost as call
from tests.run.own_tasks import write_task

WORD = "xyzzy"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sound` and `bad` ask to choose, `tell` for texts; one doc of the last two has a word of its own."""
    folder = tmp_path_factory.mktemp("tasks")
    docs = [{"animal": animal, "answer": "mat"} for animal in ("cat", "dog", "rat", "hen", "cow")]
    poisoned = [*docs[:3], {"animal": WORD, "answer": "mat"}, *docs[3:]]
    choosing = {
        "output_type": "multiple_choice",
        "doc_to_text": "the {{animal}} sat on the",
        "doc_to_target": 0,
        "doc_to_choice": ["mat", "hat"],
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    writing = {
        "output_type": "generate_until",
        "doc_to_text": "the {{animal}} sat on the",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["zz"], "max_gen_toks": 4, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, "sound", docs, choosing)
    write_task(folder, "bad", poisoned, choosing)
    write_task(folder, "tell", poisoned, writing)
    return folder


@pytest.fixture
def raising(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Llama raises where it meets the word's first token twice over, as no other text here has."""
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tiny_llama)(f" {WORD}", add_special_tokens=False)["input_ids"]
    right = LlamaModel.forward

    def forward(self: Any, input_ids: Any = None, **named: Any) -> Any:
        if input_ids is not None and any(ids[-3:] == row[i : i + 3] for row in input_ids.tolist()
                                         for i in range(len(row) - 2)):  # fmt: skip
            raise RuntimeError("expanded size of the tensor must match")
        return right(self, input_ids, **named)

    monkeypatch.setattr(LlamaModel, "forward", forward)
    return monkeypatch


def figures(out: Path) -> dict[tuple[int, str], float | None]:
    rows = json.loads(call("show", out, "--json").out)
    wanted = {"acc", "exact_match"}
    return {(row["step"], row["task"]): row["value"] for row in rows if row["metric"] in wanted}


def test_the_request_is_named_and_the_others_go_on(
    raising: pytest.MonkeyPatch, tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = ("run", tiny_run, "-t", "sound,bad,tell", "--include-path", tasks, "-o", out)
    called = call(*asked)
    assert called.status == 1
    assert "Traceback" not in called.err
    said = " ".join((called.err + called.out).split())
    assert "bad, doc 3, request 6: the model raised RuntimeError: expanded size of the tensor" in said
    assert "tell, doc 3, request 3: the model raised RuntimeError: expanded size of the tensor" in said
    assert "NaN" not in said
    found = figures(out)
    assert all(found[step, "sound"] is not None for step in (10, 20, 30))
    assert all(found.get((step, task)) is None for step in (10, 20, 30) for task in ("bad", "tell"))
    raising.undo()
    again = call(*asked)
    assert again.status == 0, again.err
    assert all(value is not None for value in figures(out).values())
    assert len(figures(out)) == 9
