"""`compare` from end to end: a trained model pruned three ways, and a model against itself."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import snapshot_download

from milepost.api.compare import Compared, compare
from milepost.api.results import Results
from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.display.timing import LongRunPolicy
from tests.weights.pruned import blocks, magnitude, n_of_m, prune

TEXTS = """\
task: gsm8k_text
dataset_path: openai/gsm8k
dataset_name: main
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list:
  - metric: word_perplexity
  - metric: byte_perplexity
  - metric: bits_per_byte
"""
"""Perplexity of real questions, a tenth of a second per model: the test split, which the model never saw."""

HOW = {
    "pruned": ("unstructured", partial(magnitude, share=0.5)),
    "pruned_2": ("2:4", partial(n_of_m, n=2, m=4)),
    "pruned_3": ("16x16 blocks", partial(blocks, rows=16, columns=16)),
}
OPTIONS: dict[str, Any] = {
    "limit": 30,
    "dtype": "float32",
    "device": "cpu",
    "perplexity": False,
    "metadata": {"seqlen": 32},
}

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def original(hub: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of 4 million parameters, as a folder."""
    folder = tmp_path_factory.mktemp("models") / "english-4m"
    return Path(shutil.copytree(snapshot_download("tiny/english-4m", revision="step-1600"), folder))


@pytest.fixture(scope="module")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "gsm8k_text.yaml").write_text(TEXTS, "utf-8")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared") / "out"


@pytest.fixture(scope="module")
def compared(original: Path, own_tasks: Path, out: Path) -> Compared:
    variants = [prune(original, original.parent / role, how) for role, (_, how) in HOW.items()]
    return compare(
        original,
        variants,
        "arc_easy,gsm8k_text,ppl_fixed",
        output_path=out,
        include_path=own_tasks,
        **OPTIONS,
    )


@pytest.fixture(scope="module")
def record(compared: Compared, out: Path) -> dict[str, Any]:
    return json.loads((out / "comparison_results.json").read_text("utf-8"))


def test_sparsity_is_exact_and_patterns_are_named(compared: Compared, out: Path) -> None:
    for role, (pattern, _) in HOW.items():
        model = json.loads((out / f"{role}_model_results.json").read_text("utf-8"))
        details = model["sparsity_details"]
        assert model["sparsity"] == 0.5
        assert list(details["patterns"]) == [pattern]
        assert {layer["sparsity"] for layer in details["layers"] if layer["in_total"]} == {0.5}
    assert json.loads((out / "original_model_results.json").read_text("utf-8"))["sparsity"] < 1e-4


def test_a_worse_perplexity_is_found(record: dict[str, Any]) -> None:
    for variant in record["variants"]:
        (text,) = (one for one in variant["tasks"] if one["task"] == "gsm8k_text")
        assert text["verdict"] == "worse"
        assert text["other"] > text["original"]
        assert 0 < text["ci_low"] < text["difference"] < text["ci_high"]


def test_thirty_short_windows_show_what_blocks_cost_and_not_what_the_smallest_weights_do(
    record: dict[str, Any],
) -> None:
    verdicts = [variant["verdicts"]["ppl_fixed"] for variant in record["variants"]]
    assert verdicts[0] == "not distinguishable"
    assert verdicts[-1] == "worse"


def test_the_perplexity_on_wikitext_names_its_convention(record: dict[str, Any]) -> None:
    (windows,) = (one for one in record["variants"][0]["tasks"] if one["task"] == "ppl_fixed")
    assert record["original"]["wikitext_ppl"] == pytest.approx(windows["original"])
    convention = record["original"]["wikitext_ppl_convention"]
    assert "disjoint windows" in convention
    assert "only the first 30, as --limit says" in convention


def test_every_file_is_there_with_its_keys(compared: Compared, out: Path, original: Path) -> None:
    assert compared.failures == {}
    assert {path.name for path in compared.files} == {
        *(f"{role}_model_results.json" for role in ("original", *HOW)),
        *(f"comparison_{name}" for name in ("results.json", "report.md", "report.html")),
    }
    model = json.loads((out / "original_model_results.json").read_text("utf-8"))
    assert {"model_path", "sparsity", "wikitext_ppl", "tasks"} <= set(model)
    assert model["model_path"] == str(original)
    assert {"acc", "acc_norm"} <= set(model["tasks"]["arc_easy"])
    assert set(model["perplexities"]) == {
        "ppl_fixed token_perplexity",
        *(f"gsm8k_text {name}" for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")),
    }


def test_flips_are_the_docs_lost_and_gained(record: dict[str, Any]) -> None:
    for variant in record["variants"]:
        (task,) = (one for one in variant["tasks"] if one["task"] == "arc_easy")
        lost = variant["examples"]["arc_easy"]["lost_docs"].get("arc_easy", [])
        gained = variant["examples"]["arc_easy"]["gained_docs"].get("arc_easy", [])
        assert task["flips"] == {"lost": len(lost), "gained": len(gained)}
        assert task["difference"] == pytest.approx((len(gained) - len(lost)) / 30)
        for example in variant["examples"]["arc_easy"]["lost"]:
            assert example["original_answer"] == example["target"] != example["other_answer"]


def test_the_reports_tell_of_every_variant_and_its_questions(compared: Compared, out: Path) -> None:
    told = (out / "comparison_report.md").read_text("utf-8")
    page = (out / "comparison_report.html").read_text("utf-8")
    for text in (told, page):
        for role, (pattern, _) in HOW.items():
            assert role.replace("_", r"\_") in text or role in text
            assert pattern in text
        assert "Question: " in text
        assert "not distinguishable" in text or "worse" in text
    assert "<script src" not in page


def test_a_model_against_itself_shows_nothing(compared: Compared, out: Path, tmp_path: Path) -> None:
    same = compare(out / "original", out / "original", output_path=tmp_path / "same")
    assert same.study is not None
    comparison = same.study.variants[0].comparison
    every = (*comparison.tasks, *comparison.subjects, *comparison.others)
    assert {one.verdict for one in every} == {"not distinguishable"}
    assert {one.p_value for one in every} == {1.0}
    assert {one.flips for one in every} - {None} == {(0, 0)}
    assert comparison.notes == ("both are the same weights",)


def test_two_results_are_compared_without_running_anything(
    compared: Compared, record: dict[str, Any], out: Path, tmp_path: Path
) -> None:
    again = compare(out / "original", out / "pruned", output_path=tmp_path / "again")
    found = json.loads((tmp_path / "again" / "comparison_results.json").read_text("utf-8"))
    assert found["variants"][0]["tasks"] == record["variants"][0]["tasks"]
    assert found["variants"][0]["sparsity"] == 0.5
    assert not (tmp_path / "again" / "original").exists()
    assert again.failures == {}


def test_zeros_are_counted_of_results_whose_weights_are_in_the_cache(
    compared: Compared, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milepost.api.evaluate import evaluate

    results = evaluate(
        "hf://tiny/english-4m@step-1600", "arc_easy", output_path=tmp_path / "hub", limit=5, device="cpu"
    ).path
    for here, sparsity in ((True, pytest.approx(0, abs=1e-4)), (False, None)):
        if not here:
            monkeypatch.setattr("milepost.api.named_models.is_fetched", lambda checkpoint: False)
        compare(results, out / "pruned", output_path=tmp_path / "report")
        model = json.loads((tmp_path / "report" / "original_model_results.json").read_text("utf-8"))
        assert model["sparsity"] == sparsity
    told = (tmp_path / "report" / "comparison_report.md").read_text("utf-8")
    assert "its weights are not here; name hf://tiny/english-4m@step-1600" in told.replace("\\", "")


def test_other_limits_are_compared_over_the_common_docs(
    compared: Compared, original: Path, own_tasks: Path, out: Path, tmp_path: Path
) -> None:
    fewer = compare(
        out / "original",
        original.parent / "pruned",
        "arc_easy",
        output_path=tmp_path / "fewer",
        include_path=own_tasks,
        **{**OPTIONS, "limit": 20},
    )
    assert fewer.study is not None
    comparison = fewer.study.variants[0].comparison
    assert [one.docs for one in comparison.tasks] == [(20, 30, 20)]
    assert "arc_easy: 20 docs in common of 30 and 20" in comparison.notes


def test_what_one_model_has_is_kept_when_the_other_fails(
    compared: Compared, original: Path, own_tasks: Path, out: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(original, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    found = compare(
        original,
        broken,
        "arc_easy",
        output_path=tmp_path / "kept",
        include_path=own_tasks,
        **{**OPTIONS, "limit": 5},
    )
    assert found.study is None
    assert set(found.failures) == {"pruned"}
    assert [path.name for path in found.files] == ["original_model_results.json"]
    kept = json.loads(found.files[0].read_text("utf-8"))
    assert kept["tasks"]["arc_easy"]["acc"] is not None


def test_what_one_model_has_is_written_before_the_next_begins(
    compared: Compared,
    original: Path,
    own_tasks: Path,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the next ends in something that nobody has foreseen."""
    kept = tmp_path / "kept"

    def fall_over(*_: object) -> None:
        raise RuntimeError("the machine has run out of something")

    def say(line: str) -> None:
        if line.startswith("pruned: "):
            monkeypatch.setattr("milepost.api.compare._run", fall_over)

    shutil.copytree(out / "original", kept / "original")
    options = {**OPTIONS, "include_path": own_tasks, "say": say}
    with pytest.raises(RuntimeError, match="run out of something"):
        compare(
            original, original.parent / "pruned", "arc_easy,gsm8k_text,ppl_fixed", output_path=kept, **options
        )
    assert [path.name for path in kept.glob("*.json")] == ["original_model_results.json"]


def test_leave_is_asked_once_and_the_estimate_is_of_all_models(
    compared: Compared, original: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import milepost.api.compare as module

    run, asked = module.evaluate_config, []

    def noted(config: EvalConfig, long_run: LongRunPolicy) -> Results:
        asked.append((long_run.ask, long_run.models_after))
        return run(config, long_run)

    monkeypatch.setattr(module, "evaluate_config", noted)
    compare(
        original,
        [out / "original", original.parent / "pruned"],
        "arc_easy",
        output_path=tmp_path / "out",
        **{**OPTIONS, "limit": 5, "ask": True},
    )
    assert asked == [(True, 1), (False, 0)]


def test_one_server_is_not_taken_for_two_models(original: Path, tmp_path: Path) -> None:
    with pytest.raises(MilepostError, match="a server holds one model, and 2 are to be run") as caught:
        compare(
            original, original, "arc_easy", output_path=tmp_path / "out",
            engine="openai", base_url="http://127.0.0.1:9/v1",
        )  # fmt: skip
    assert "compare the RESULTS" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("models", "tasks", "message"),
    [
        (["original"], "arc_easy", "only one model"),
        (["original", "nowhere"], "arc_easy", "nowhere does not exist"),
        (["original", "original"], "", "on no task"),
        (["original", "original"], "no_such_task", "no_such_task"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(
    original: Path, tmp_path: Path, models: list[str], tasks: str, message: str
) -> None:
    named = [original if one == "original" else tmp_path / one for one in models]
    with pytest.raises(MilepostError, match=message) as caught:
        compare(named[0], named[1:], tasks, output_path=tmp_path / "out", **OPTIONS)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_models_with_different_tokenizers_are_compared_by_docs_and_per_byte(
    compared: Compared, tiny_llama: Path, own_tasks: Path, out: Path, tmp_path: Path
) -> None:
    found = compare(
        out / "original",
        tiny_llama,
        "arc_easy,gsm8k_text,ppl_fixed",
        output_path=tmp_path / "tokenizers",
        include_path=own_tasks,
        **{**OPTIONS, "limit": 4},
    )
    assert found.study is not None
    comparison = found.study.variants[0].comparison
    figures = {(one.task, one.metric): one.docs.common for one in comparison.tasks}
    assert figures == {("arc_easy", "acc"): 4, ("gsm8k_text", "byte_perplexity"): 4}
    assert {one.metric for one in comparison.others if one.task == "gsm8k_text"} == {"bits_per_byte"}
    told = (tmp_path / "tokenizers" / "comparison_report.md").read_text("utf-8")
    assert "different tokenizers" in told
    assert "perplexities only per byte" in told


def test_results_without_a_common_doc_are_refused(
    compared: Compared, original: Path, own_tasks: Path, out: Path, tmp_path: Path
) -> None:
    from milepost.api.evaluate import evaluate

    evaluate(
        original,
        "arc_easy",
        output_path=tmp_path / "others",
        samples={"arc_easy": [100, 101]},
        dtype="float32",
        device="cpu",
    )
    with pytest.raises(MilepostError, match="no doc in common") as caught:
        compare(out / "original", tmp_path / "others", "arc_easy", output_path=tmp_path / "none")
    assert caught.value.exit_code == 2
    assert not (tmp_path / "none").exists()


def test_a_folder_of_results_is_no_place_for_a_report(compared: Compared, out: Path) -> None:
    with pytest.raises(MilepostError, match="is a results folder"):
        compare(out / "original", out / "pruned", output_path=out / "original")
