"""A whole run gives lm_eval's numbers: `lm_eval run --model hf` on the same model, tasks and data."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM

import milepost
from milepost.analysis.choice_metrics import HIGHER_IS_BETTER
from milepost.store.picks import read_picks
from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.loading import task_manager
from milepost.tasks.lm_eval.shortcuts import compiled_yaml
from tests.lm_eval_runs import simple_evaluate

TASKS = ["arc_easy", "winogrande", "rte", "lambada_openai"]
LIMIT = 2
PERPLEXITIES = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")


@pytest.fixture(scope="module")
def model_folder(shared: Path) -> Path:
    return shared / "hub" / "models" / "tiny" / "english-4m" / "step-1600"


@functools.cache
def by_lm_eval(folder: Path, shots: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    model = HFLM(pretrained=str(folder), dtype="float32", batch_size=8, device="cpu")
    with compiled_yaml():
        found: dict[str, Any] = simple_evaluate(
            model=model,
            tasks=TASKS if shots else [*TASKS, "wikitext"],
            num_fewshot=shots,
            limit=LIMIT,
            task_manager=task_manager(load_catalog()),
            bootstrap_iters=0,
        )
    return found


@dataclass(frozen=True)
class Case:
    engine: Any
    shots: int
    tasks: list[str]


CASES = [
    Case("packed", 0, [*TASKS, "wikitext"]),
    Case("padded", 0, TASKS),
    Case("reference", 0, TASKS),
    pytest.param(Case("packed", 3, TASKS), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.engine}-{case.shots}-shot")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def theirs(hub: str, model_folder: Path, case: Case) -> dict[str, Any]:
    """lm_eval's results, of the case's tasks."""
    found = by_lm_eval(model_folder, case.shots)
    tables = ("results", "samples", "configs")
    return {key: {task: found[key][task] for task in case.tasks} for key in tables}


@pytest.fixture(scope="module")
def ours(
    theirs: dict[str, Any], model_folder: Path, case: Case, tmp_path_factory: pytest.TempPathFactory
) -> milepost.Results:
    return milepost.evaluate(
        model_folder,
        case.tasks,
        output_path=tmp_path_factory.mktemp("results") / "out",
        num_fewshot=case.shots,
        limit=LIMIT,
        dtype="float32",
        engine=case.engine,
        log_samples=True,
    )


def test_every_figure_is_that_of_lm_eval(theirs: dict[str, Any], ours: milepost.Results) -> None:
    compared = 0
    for row in ours.rows():
        if f"{row.metric},{row.filter}" not in theirs["results"][row.task]:
            assert row.metric in HIGHER_IS_BETTER  # of the same log-likelihoods, and none of lm_eval's
            continue
        value = theirs["results"][row.task][f"{row.metric},{row.filter}"]
        tolerance: dict[str, Any] = {"rel": 1e-5} if row.metric in PERPLEXITIES else {"abs": 1e-6}
        assert row.value == pytest.approx(value, **tolerance), (row.task, row.metric)
        compared += 1
    assert compared >= len(TASKS)


def samples_of(results: milepost.Results, task: str) -> list[dict[str, Any]]:
    (path,) = results.path.glob(f"*/*/samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_request_has_the_log_likelihood_and_pick_of_lm_eval(
    theirs: dict[str, Any], ours: milepost.Results
) -> None:
    for task, samples in theirs["samples"].items():
        for mine, his in zip(samples_of(ours, task), samples, strict=True):
            for key in ("doc_hash", "prompt_hash", "target_hash", "doc_id"):
                assert mine[key] == his[key]
            for answer, (expected,) in zip(mine["resps"], his["resps"], strict=True):
                if isinstance(expected, float):
                    # A whole document: its thousands of tokens each have the rounding of one.
                    assert float(answer[0]) == pytest.approx(expected, rel=1e-6)
                else:
                    assert float(answer[0][0]) == pytest.approx(expected[0], abs=1e-4)
                    assert answer[0][1] == str(expected[1])
            if "acc" in his:
                assert mine["acc"] == his["acc"]


def test_exported_files_have_the_keys_of_lm_eval_and_load_in_its_reader(
    theirs: dict[str, Any], ours: milepost.Results
) -> None:
    from lm_eval.utils import get_file_task_name, get_results_filenames, make_table

    files = [str(path) for path in ours.path.glob("*/*/*.json")]
    (path,) = get_results_filenames(files)
    content = json.loads(Path(path).read_text("utf-8"))
    for key in (
        "results",
        "group_subtasks",
        "configs",
        "versions",
        "n-shot",
        "higher_is_better",
        "n-samples",
        "config",
    ):
        assert key in content
    for task, figures in theirs["results"].items():
        assert content["results"][task].keys() == figures.keys()
        assert content["configs"][task].keys() == theirs["configs"][task].keys()
        mine, his = samples_of(ours, task)[0], theirs["samples"][task][0]
        assert set(mine) == set(his)
    assert "arc_easy" in make_table(content)
    names = {get_file_task_name(path.name) for path in ours.path.glob("*/*/samples_*.jsonl")}
    assert names == set(theirs["samples"])


def test_standard_errors_of_means_are_those_of_lm_eval(
    theirs: dict[str, Any], ours: milepost.Results
) -> None:
    from lm_eval.api.metrics import mean_stderr

    for row in ours.rows():
        if row.metric in ("acc", "acc_norm") and row.metric in theirs["samples"][row.task][0]:
            values = [sample[row.metric] for sample in theirs["samples"][row.task]]
            assert row.stderr == pytest.approx(mean_stderr(values), abs=1e-9)
            assert not math.isnan(row.stderr or 0)


def test_picks_are_right_where_lm_eval_says_so(theirs: dict[str, Any], ours: milepost.Results) -> None:
    (path,) = (ours.path / "store" / "picks").glob("*/*.parquet")
    picks = read_picks(path, ["right", "right_norm"])
    assert "arc_easy" in picks
    for task, columns in picks.items():
        samples = theirs["samples"][task]
        for metric, column in {"acc": "right", "acc_norm": "right_norm"}.items():
            if metric in samples[0]:
                assert [sample[metric] for sample in samples] == columns[column].tolist(), (task, metric)
