"""`milepost questions` over real results."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import milepost
from tests.cli.called import milepost as called
from tests.run.own_tasks import ANIMALS, PLACES, write_task, write_tasks


@pytest.fixture(scope="module")
def results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "out"
    tasks = write_tasks(tmp_path_factory.mktemp("tasks"))
    milepost.evaluate(tiny_run, "farm,prose", output_path=folder, include_path=tasks, engine="padded")
    return folder


def shown(results: Path, *options: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(called("questions", results, "--json", *options).out)
    return found


def test_a_doc_is_shown_as_the_model_saw_it_with_each_checkpoints_pick(results: Path) -> None:
    (doc,) = shown(results, "--task", "where", "--doc-id", 2)
    assert doc["requests"][0]["context"] == f"the {ANIMALS[2]} sat on the"
    assert [one["continuation"].strip() for one in doc["requests"]] == list(PLACES)
    assert doc["right"] == [2]
    assert [one["step"] for one in doc["checkpoints"]] == [10, 20, 30]
    for one in doc["checkpoints"]:
        assert one["is_right"] == (one["pick"] == 2) == (one["margin"] > 0)
        nats = one["loglikelihoods"]
        assert int(np.argmax(nats)) == one["pick"]
        assert nats[2] - max(nats[:2] + nats[3:]) == pytest.approx(one["margin"], abs=1e-4)


def test_shares_of_right_picks_are_the_accuracies(results: Path) -> None:
    docs = shown(results, "--task", "where", "-n", 100)
    assert len(docs) == len(ANIMALS)
    rows = json.loads(called("show", results, "--json", "--task", "where", "--metric", "acc").out)
    for place, row in enumerate(rows):
        right = [doc["checkpoints"][place]["is_right"] for doc in docs]
        assert np.mean(right) == pytest.approx(row["value"])


def test_people_get_prompt_choices_and_strips(results: Path) -> None:
    text = called("questions", results, "--task", "where", "-n", 1).out
    assert "where, doc 0" in text
    assert f"the {ANIMALS[0]} sat on the" in text
    assert "steps 10 to 30" in text
    assert len(re.findall(r"\(−\d+\.\d\d → −\d+\.\d\d\)", text)) == len(PLACES)
    assert any(line.startswith("picks ") and len(line.split()[1]) == 3 for line in text.splitlines())


def test_stats_count_what_was_learned_and_forgotten(results: Path) -> None:
    (where, who) = json.loads(called("questions", results, "--stats", "--json").out)
    assert (where["task"], who["task"]) == ("where", "who")
    rights = [one["right"] for one in where["steps"]]
    moved = [one["learned"] - one["forgotten"] for one in where["steps"]]
    assert [after - before for before, after in itertools.pairwise(rights)] == moved[1:]
    text = called("questions", results, "--stats").out
    together, by_task = text.split("tiny-run: by task")
    assert "tiny-run: 2 tasks" in together
    rights = [one["right"] + other["right"] for one, other in zip(where["steps"], who["steps"], strict=True)]
    assert [
        int(line.split()[1]) for line in together.splitlines() if line.strip()[:2] in ("10", "20", "30")
    ] == rights
    assert {line.split()[0] for line in by_task.splitlines() if line.startswith("wh")} == {"where", "who"}


def test_tokens_of_the_prompt_spell_it(results: Path) -> None:
    (doc,) = shown(results, "--task", "where", "--doc-id", 1, "--tokens")
    first = doc["requests"][0]
    assert "".join(doc["tokens"]).endswith(first["context"] + first["continuation"])
    assert len(doc["tokens"]) > 3


def test_a_group_stands_for_its_tasks_and_n_counts_over_all(results: Path) -> None:
    assert [(doc["task"], doc["doc_id"]) for doc in shown(results, "--task", "farm", "-n", 9)][-1] == (
        "who",
        0,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "wheer"], "no task matches `wheer`"),
        (["--task", "prose"], "prose: no doc is right or wrong"),
        (["--task", "where", "--doc-id", "99"], "none of these tasks has a doc 99"),
        (["--series", "other"], "no series matches"),
    ],
)
def test_what_is_not_there_is_one_line_and_a_hint(results: Path, options: list[str], message: str) -> None:
    done = called("questions", results, *options)
    assert done.status == 2
    assert message in done.err
    assert "hint: " in done.err


def test_texts_are_shown_with_what_is_right_and_counted_as_learned_and_forgotten(
    tiny_run: Path, tmp_path: Path
) -> None:
    docs = [{"text": f"the {animal} sat on the", "place": place} for animal in ANIMALS for place in PLACES]
    texts: dict[str, Any] = {
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{place}}",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 1, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(tmp_path / "tasks", "tell", docs, texts)
    out = tmp_path / "out"
    milepost.evaluate(tiny_run, "tell", output_path=out, include_path=tmp_path / "tasks", engine="padded")
    found = shown(out, "-n", 100, "--tokens")
    assert [one["requests"][0]["context"] for one in found] == [doc["text"] for doc in docs]
    assert [one["target"] for one in found] == [doc["place"] for doc in docs]
    assert {one["metric"] for one in found} == {"exact_match"}
    for one in found:
        assert "".join(one["tokens"]).endswith(one["requests"][0]["context"])
        for checkpoint in one["checkpoints"]:
            assert (
                checkpoint["is_right"] == (checkpoint["value"] == 1) == (checkpoint["text"] == one["target"])
            )
    (stats,) = json.loads(called("questions", out, "--stats", "--json").out)
    assert [step["right"] for step in stats["steps"]] == [
        sum(one["checkpoints"][place]["is_right"] for one in found) for place in range(3)
    ]
    said = called("questions", out, "-n", 1).out
    assert f"right: {PLACES[0]}" in said
    assert "exact_match, steps 10 to 30" in said


def test_one_checkpoint_is_said_to_be_one(tiny_llama: Path, tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path)
    milepost.evaluate(tiny_llama, "where", output_path=tmp_path / "out", include_path=tasks, engine="padded")
    for option in ("--learned", "--forgotten", "--flips", "--stats"):
        assert "one checkpoint only" in called("questions", tmp_path / "out", option).out
    (told,) = [
        line for line in called("questions", tmp_path / "out", "--stats").out.splitlines() if ": " in line
    ][:1]
    assert told.strip().endswith(": where")
