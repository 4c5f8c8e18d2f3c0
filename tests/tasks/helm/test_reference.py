"""Milepost's files of a HELM run beside those of `helm-run` with HELM's Hugging Face client, in float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

import milepost
from milepost.api.helm_files import export_helm
from milepost.results.leaderboard import leaderboard_of
from milepost.results.selection import select_all_rows
from milepost.store import ResultsIndex

from .conftest import PARTS, STEPS, read

NOT_COMPARED = {"inference_runtime", "batch_size"}
"""Milepost does not time single requests."""
LOGPROB_SUMS = {"logprob"}
LEAST_STATISTICS = {"most": 500, "changed": 300, "perturbed": 200, "slow": 200}


@pytest.fixture(scope="session")
def results(
    part: str,
    run_folder: Path,
    helm_data: Path,
    helm_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    entries, n = PARTS[part]
    out: Path = tmp_path_factory.mktemp(part)
    done = milepost.evaluate(
        run_folder, helm=entries, max_eval_instances=n, helm_data=helm_data, output_path=out
    )
    assert not done.failures
    assert len(done.scored) == len(STEPS)
    return out


@pytest.fixture(scope="session")
def exported(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("exported")
    export_helm(ResultsIndex.open(results), out)
    return out


def close(found: float | None, expected: float | None, tolerance: float) -> bool:
    """Return whether two values differ by less than `tolerance`, or both are missing."""
    if found is None or expected is None:
        return found is expected
    return abs(found - expected) <= max(tolerance, 1e-6 * abs(expected))


def pairs(reference: Path, exported: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each of HELM's run folders with Milepost's of the same run."""
    for theirs in sorted(reference.iterdir()):
        if (theirs / "stats.json").is_file():
            name = theirs.name
            for step in STEPS:
                name = name.replace(f"model=huggingface_{step}", f"model={series(exported)}_{step}")
            yield theirs, exported / "runs" / "milepost" / name


def series(exported: Path) -> str:
    first = next((exported / "runs" / "milepost").iterdir()).name
    return first.rpartition("model=")[2].rpartition("_")[0]


def test_every_statistic_is_the_same(part: str, reference: Path, exported: Path) -> None:
    n_compared = 0
    for theirs, ours in pairs(reference, exported):
        found = {json.dumps(stat["name"], sort_keys=True): stat for stat in read(ours, "stats")}
        expected = {json.dumps(stat["name"], sort_keys=True): stat for stat in read(theirs, "stats")}
        left_out = {key for key, stat in expected.items() if stat["name"]["name"] in NOT_COMPARED}
        assert found.keys() == expected.keys() - left_out
        for key, stat in found.items():
            tolerance = 1e-4 if stat["name"]["name"] in LOGPROB_SUMS else 1e-6
            for field in ("count", "sum", "min", "max", "mean", "stddev"):
                values = stat.get(field), expected[key].get(field)
                assert close(*values, tolerance), (ours.name, key, field, values)
            n_compared += 1
    assert n_compared > LEAST_STATISTICS[part]


def test_prompts_texts_and_tokens_are_the_same(reference: Path, exported: Path) -> None:
    for theirs, ours in pairs(reference, exported):
        found = read(ours, "scenario_state")["request_states"]
        expected = read(theirs, "scenario_state")["request_states"]
        assert [plain(state) for state in found] == [plain(state) for state in expected], ours.name
        for state, other in zip(found, expected, strict=True):
            for ours_text, theirs_text in zip(
                *(s["result"]["completions"] for s in (state, other)), strict=True
            ):
                logprobs = [token["logprob"] for token in ours_text["tokens"]]
                assert logprobs == pytest.approx([t["logprob"] for t in theirs_text["tokens"]], abs=1e-3)


def plain(state: dict[str, Any]) -> dict[str, Any]:
    """Return a request state without the model's name, times and numbers."""
    texts = [
        [completion["text"], [token["text"] for token in completion["tokens"]]]
        for completion in state["result"]["completions"]
    ]
    request = {key: value for key, value in state["request"].items() if not key.startswith("model")}
    return {**state, "result": texts, "request": request}


def test_statistics_of_instances_are_the_same(reference: Path, exported: Path) -> None:
    for theirs, ours in pairs(reference, exported):
        found, expected = (read(folder, "per_instance_stats") for folder in (ours, theirs))
        assert len(found) == len(expected)
        for own, other in zip(found, expected, strict=True):
            assert own["instance_id"] == other["instance_id"]
            values = {s["name"]["name"]: s.get("mean") for s in other["stats"]}
            for stat in own["stats"]:
                assert close(stat.get("mean"), values[stat["name"]["name"]], 1e-4), (ours.name, stat["name"])


def test_run_specs_and_scenarios_are_the_same_but_for_the_model(reference: Path, exported: Path) -> None:
    for theirs, ours in pairs(reference, exported):
        assert read(ours, "scenario") == read(theirs, "scenario")
        found, expected = (read(folder, "run_spec") for folder in (ours, theirs))
        for spec in (found, expected):
            del spec["name"], spec["adapter_spec"]["model"], spec["adapter_spec"]["model_deployment"]
        assert found == expected


@pytest.mark.parametrize("part", ["most"], indirect=True)
def test_the_table_shows_helms_headlines(results: Path, exported: Path) -> None:
    rows = {
        (row.task, row.checkpoint, row.metric, row.filter): row
        for row in select_all_rows(ResultsIndex.open(results))
    }
    for step in STEPS:
        stats = read(
            run_of(exported, "mmlu:subject=anatomy,method=multiple_choice_joint,model", step), "stats"
        )
        row = rows["mmlu:subject=anatomy", step, "exact_match", "test"]
        assert row.value == next(
            s["mean"] for s in stats if s["name"] == {"name": "exact_match", "split": "test"}
        )
        assert row.higher_is_better is True
        assert row.chance == pytest.approx(0.25)
        assert row.stderr is not None
    firsts: dict[str, tuple[str, str]] = {}
    for row in select_all_rows(ResultsIndex.open(results)):
        firsts.setdefault(row.task, (row.metric, row.filter))
    assert firsts["helm:boolq"] == ("quasi_exact_match", "valid")
    assert firsts["helm:narrative_qa"] == ("f1_score", "test")
    assert firsts["twitter_aae:demographic=aa"] == ("bits_per_byte", "test")


@pytest.mark.parametrize("part", ["slow"], indirect=True)
def test_the_leaderboard_ranks_by_main_metrics_whose_direction_only_helms_schemas_tell(results: Path) -> None:
    board = leaderboard_of({results: ResultsIndex.open(results)})
    ranked = zip(board.columns, board.higher_is_better, strict=True)
    assert {(column.task, column.metric, better) for column, better in ranked} == {
        ("helm:wikitext_103", "bits_per_byte", False),
        ("msmarco:track=regular,valid_topk=11", "RR@10", True),
        ("msmarco:track=trec,valid_topk=11", "NDCG@10", True),
        ("spider:num_output_tokens=8", "execution_accuracy", True),
    }


def run_of(exported: Path, beginning: str, step: str) -> Path:
    folders = (exported / "runs" / "milepost").iterdir()
    return next(
        folder for folder in folders if folder.name.startswith(beginning) and folder.name.endswith(step)
    )
