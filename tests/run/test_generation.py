"""Generative tasks give lm_eval's texts and figures, checkpoint by checkpoint, and go on where they ended.

MILEPOST_GENERATION_DOCS sets how many docs of each task are compared with lm_eval (1; 50 takes some minutes).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM

import milepost
from milepost.store import open_folder
from milepost.store.records import PlanRecord, read_record
from milepost.store.tables import read_table
from milepost.tasks.lm_eval.catalog import load_catalog
from milepost.tasks.lm_eval.loading import task_manager
from milepost.tasks.lm_eval.shortcuts import compiled_yaml
from tests.cli.called import milepost as call
from tests.cli.called import refusal
from tests.lm_eval_runs import simple_evaluate
from tests.run.own_tasks import write_task

pytestmark = pytest.mark.slow

TASKS = ["gsm8k", "gsm8k_cot", "squadv2"]
LIMIT = int(os.environ.get("MILEPOST_GENERATION_DOCS", "1"))


# ---- parity -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_folder(shared: Path) -> Path:
    return shared / "hub" / "models" / "tiny" / "english-4m" / "step-1600"


@pytest.fixture(scope="module")
def theirs(hub: str, model_folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    model = HFLM(pretrained=str(model_folder), dtype="float32", batch_size=1, device="cpu")
    with compiled_yaml():
        found: dict[str, Any] = simple_evaluate(
            model=model,
            tasks=TASKS,
            limit=LIMIT,
            task_manager=task_manager(load_catalog()),
            bootstrap_iters=0,
        )
    return found


@pytest.fixture(scope="module")
def ours(
    theirs: dict[str, Any], model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> milepost.Results:
    return milepost.evaluate(
        model_folder,
        TASKS,
        output_path=tmp_path_factory.mktemp("results") / "out",
        limit=LIMIT,
        dtype="float32",
        log_samples=True,
    )


def samples_of(results: milepost.Results, task: str) -> list[dict[str, Any]]:
    (path,) = results.path.glob(f"*/*/samples_{task}_2*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_text_is_that_of_lm_eval(theirs: dict[str, Any], ours: milepost.Results) -> None:
    for task in TASKS:
        for mine, his in zip(samples_of(ours, task), theirs["samples"][task], strict=True):
            for answer, expected in zip(mine["resps"], his["resps"], strict=True):
                if isinstance(expected[0], str):
                    assert answer == expected, (task, mine["doc_id"])
                else:
                    assert float(answer[0][0]) == pytest.approx(expected[0][0], abs=1e-4)


def test_every_figure_is_that_of_lm_eval(theirs: dict[str, Any], ours: milepost.Results) -> None:
    compared = set()
    for row in ours.rows():
        assert row.value == pytest.approx(theirs["results"][row.task][f"{row.metric},{row.filter}"], abs=1e-9)
        compared.add((row.task, row.metric, row.filter))
    assert {
        ("gsm8k", "exact_match", "strict-match"),
        ("gsm8k_cot", "exact_match", "flexible-extract"),
    } < compared
    assert {metric for task, metric, _ in compared if task == "squadv2"} >= {
        "exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1", "best_exact", "best_f1",
    }  # fmt: skip


def test_the_files_have_lm_evals_keys(theirs: dict[str, Any], ours: milepost.Results) -> None:
    for task in TASKS:
        (mine, *_), (his, *_) = samples_of(ours, task), theirs["samples"][task]
        assert set(mine) == set(his)
        assert {
            key: mine[key] for key in ("doc_hash", "prompt_hash", "target_hash", "filter", "metrics")
        } == {key: his[key] for key in ("doc_hash", "prompt_hash", "target_hash", "filter", "metrics")}
    (path,) = ours.path.glob("*/*/results_*.json")
    written = json.loads(path.read_text("utf-8"))
    for task in TASKS:
        assert set(written["results"][task]) == set(theirs["results"][task])


def test_each_doc_of_squadv2_has_its_own_number(ours: milepost.Results) -> None:
    (plan,) = (path for path in (ours.path / "store/plans").glob("*.json") if "lm_eval" not in path.name)
    task = read_record(PlanRecord, plan).task("squadv2")
    (path,) = (ours.path / "store/doc_metrics" / task.counted_id).glob("*.parquet")
    table = read_table(path)
    shown = {row.metric: row for row in ours.rows() if row.task == "squadv2"}
    for metric in ("f1", "NoAns_exact"):
        values = [value for value in table[f"value:{metric}"].to_pylist() if value is not None]
        assert shown[metric].n == len(values)
        if values:
            assert shown[metric].value == pytest.approx(sum(values) / len(values))


# ---- squadv2 few-shot ---------------------------------------------------------------------------------


def test_squadv2_is_asked_few_shot_where_lm_eval_cannot(hub: str, model_folder: Path, tmp_path: Path) -> None:
    with compiled_yaml(), pytest.raises(TypeError, match="takes 2 positional arguments"):
        simple_evaluate(
            model="dummy",
            tasks=["squadv2"],
            num_fewshot=2,
            limit=1,
            task_manager=task_manager(load_catalog()),
        )
    results = milepost.evaluate(
        model_folder,
        "squadv2",
        output_path=tmp_path / "out",
        num_fewshot=2,
        limit=1,
        gen_kwargs={"max_gen_toks": 8},
    )
    (docs,) = (results.path / "store/docs").glob("*.parquet")
    prompt = json.loads(read_table(docs)["arguments"][0].as_py())[0][0]
    assert prompt.count("Title: ") == 3
    examples = prompt.split("Answer:")[1:-1]
    assert all(answer.startswith(" ") and not answer.startswith("  ") for answer in examples)
    assert {row.num_fewshot for row in results.rows()} == {2}


# ---- own tasks: series, resume, settings --------------------------------------------------------------


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tell` asks for a text, `guess` for three draws of one."""
    folder = tmp_path_factory.mktemp("tasks")
    docs = [{"animal": animal, "answer": "mat"} for animal in ("cat", "dog", "rat", "hen", "cow", "pig")]
    base = {
        "output_type": "generate_until",
        "doc_to_text": "the cat sat on the mat and the {{animal}} sat on the",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, "tell", docs, base)
    drawn = {"until": ["."], "max_gen_toks": 6, "do_sample": True, "temperature": 0.9}
    write_task(folder, "guess", docs[:2], base | {"generation_kwargs": drawn, "repeats": 3})
    return folder


def texts_of(results: Path) -> dict[str, list[Any]]:
    """Generated texts by file."""
    folder = open_folder(results)
    return {
        str(path.relative_to(results)): folder.read_generated(path)
        for path in sorted((results / "store/scores").rglob("*.parquet"))
    }


def run(source: Path, names: str, tasks: Path, out: Path, *more: object) -> Any:
    return call("run", source, "-t", names, "--include-path", tasks, "-o", out, *more)


def test_a_series_is_generated_shard_by_shard_and_goes_on_after_an_interrupt(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milepost.store import ResultsFolder

    write = ResultsFolder.write_scores
    written: list[Any] = []

    def interrupted(self: ResultsFolder, path: Path, *scores: Any, **texts: Any) -> None:
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        write(self, path, *scores, **texts)

    out, whole = tmp_path / "out", tmp_path / "whole"
    with monkeypatch.context() as patch:
        patch.setattr(ResultsFolder, "write_scores", interrupted)
        assert run(tiny_run, "tell", tasks, out, "--shard-tokens", 99).status == 130
    before = {path: path.stat().st_mtime_ns for path in written}
    assert run(tiny_run, "tell", tasks, out, "--shard-tokens", 99).status == 0
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert run(tiny_run, "tell", tasks, whole, "--shard-tokens", 99).status == 0
    assert texts_of(out) == texts_of(whole)
    assert len(texts_of(out)) == 3 * 3
    again = run(tiny_run, "tell", tasks, out)
    assert "3 already scored" not in again.err, "one shard is another question than three"
    assert call("verify", out).status == 0


def test_engines_give_the_same_texts(tiny_llama: Path, tasks: Path, tmp_path: Path) -> None:
    found = {}
    for engine in ("auto", "padded", "reference"):
        called = run(tiny_llama, "tell,guess", tasks, tmp_path / engine, "--engine", engine)
        assert called.status == 0, called.err
        found[engine] = texts_of(tmp_path / engine)
    assert found["auto"] == found["padded"] == found["reference"]


def test_draws_are_as_many_as_the_task_repeats_and_the_same_again(
    tiny_llama: Path, tasks: Path, tmp_path: Path
) -> None:
    found = []
    for name, seed in (("a", "0,1234,1234,1234"), ("b", "0,1234,1234,1234"), ("c", "0,1234,99,1234")):
        assert run(tiny_llama, "guess", tasks, tmp_path / name, "--seed", seed).status == 0
        found.append([texts for part in texts_of(tmp_path / name).values() for texts in part])
    assert [len(texts) for texts in found[0]] == [3, 3]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_changed_stop_strings_are_other_questions(tiny_llama: Path, tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for kwargs in ("max_gen_toks=3", '{"until": ["a"]}', '{"until": ["a"]}'):
        assert run(tiny_llama, "tell", tasks, out, "--gen-kwargs", kwargs).status == 0
    first, second = (part for part in texts_of(out).values())
    assert first != second


# ---- bad input ----------------------------------------------------------------------------------------

REFUSED = {
    "max_gen_toks=256": "max_gen_toks is 256, but the model's context has 256 tokens",
    "max_gen_toks=0": "max_gen_toks is 0",
    '{"until": [""]}': "a stop string is empty",
    '{"until": [3]}': "is not a list of strings",
    "num_beams=4": "num_beams=4 is not supported",
    "do_sample=true": "do_sample with a temperature of 0",
    "max_gen_toks": "--gen-kwargs 'max_gen_toks'",
}


@pytest.mark.parametrize("kwargs", REFUSED)
def test_texts_that_cannot_be_asked_for_are_refused_before_any_work(
    tiny_llama: Path, tasks: Path, tmp_path: Path, kwargs: str
) -> None:
    called = run(tiny_llama, "tell", tasks, tmp_path / "out", "--gen-kwargs", kwargs)
    assert REFUSED[kwargs] in refusal(called)
    assert not (tmp_path / "out").exists()


def test_continuous_batching_is_refused_what_it_cannot_do_before_any_work(
    tiny_llama: Path, tasks: Path, tmp_path: Path
) -> None:
    drawn = run(tiny_llama, "tell,guess", tasks, tmp_path / "out", "--engine", "hf-continuous")
    assert "--engine hf-continuous is greedy only, and guess draws its texts" in refusal(drawn)
    penalised = run(
        tiny_llama, "tell", tasks, tmp_path / "out", "--engine", "hf-continuous",
        "--gen-kwargs", "repetition_penalty=1.2",
    )  # fmt: skip
    assert "does not support repetition_penalty, which tell asks for" in refusal(penalised)
    assert not (tmp_path / "out").exists()


def test_an_empty_list_of_stop_strings_is_told_and_texts_are_full(
    tiny_llama: Path, tasks: Path, tmp_path: Path
) -> None:
    called = run(tiny_llama, "tell", tasks, tmp_path / "out", "--gen-kwargs", '{"until": []}')
    assert called.status == 0
    assert "tell has no stop strings" in called.err


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
