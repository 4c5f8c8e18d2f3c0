"""`milepost ppl`: the figures are those of first principles, and the factors multiply to their ratios."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.called import milepost

TEXT = "".join(f"{n} the cat sat on the mat and the dog ran after it. naïve — 猫\n" for n in range(9))
WINDOWS = ("--seqlen", "48", "--stride", "16", "--dtype", "float32")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results") / "out"


@pytest.fixture(scope="module")
def measured(tiny_run: Path, text: Path, results: Path) -> dict[str, Any]:
    done = milepost("ppl", tiny_run, "--text", text, *WINDOWS, "-o", results, "--json")
    assert done.status == 0, done.err
    content: dict[str, Any] = json.loads(done.out)
    return content


def test_every_checkpoint_of_a_run_is_measured(measured: dict[str, Any]) -> None:
    assert [model["step"] for model in measured["models"]] == [10, 20, 30]
    names = ["fixed", "strided", "strided_guide", "word_perplexity", "byte_perplexity", "bits_per_byte"]
    for model in measured["models"]:
        assert list(model["conventions"]) == names
        assert (model["seqlen"], model["stride"], model["context"]) == (48, 16, 256)
        assert (model["n_words"], model["n_bytes"]) == (len(TEXT.split()) + 1, len(TEXT.encode()))
    assert measured["notes"] == []


def test_the_factors_multiply_to_the_ratio_of_the_figures(measured: dict[str, Any]) -> None:
    for model in measured["models"]:
        figures = {name: one["value"] for name, one in model["conventions"].items()}
        assert {gap["to"] for gap in model["gaps"]} == set(figures) - {"fixed"}
        for gap in model["gaps"]:
            product = math.prod(factor["factor"] for factor in gap["factors"])
            assert product == pytest.approx(figures[gap["to"]] / figures["fixed"], rel=1e-9)
            assert sum(kind["ln_factor"] for kind in gap["by_kind"].values()) == pytest.approx(
                gap["ln_ratio"]
            )


def test_each_factor_is_there_and_none_is_left_at_one_by_chance(measured: dict[str, Any]) -> None:
    gap = next(gap for gap in measured["models"][0]["gaps"] if gap["to"] == "word_perplexity")
    kinds = [factor["kind"] for factor in gap["factors"]]
    assert kinds == ["dropped tail", "window/context", "window/context", "BOS", "unit"]
    assert all(abs(factor["ln_factor"]) > 1e-6 for factor in gap["factors"])


def test_again_nothing_is_computed_and_the_table_explains_the_last_checkpoint(
    measured: dict[str, Any], tiny_run: Path, text: Path, results: Path, tmp_path: Path
) -> None:
    scores = sorted(results.glob("store/scores/*/*/*"))
    curve = tmp_path / "curve.png"
    done = milepost("ppl", tiny_run, "--text", text, *WINDOWS, "-o", results, "--plot", curve)
    assert done.status == 0
    assert done.err.count("already scored") == 3
    short = milepost("ppl", tiny_run, "--text", text, *WINDOWS, "-o", results, "--short")
    sentence, table = done.out.partition("\n\n")[0], "fixed"
    assert " ".join(sentence.split()).startswith("tiny-run checkpoint-30 has ")
    assert short.out.startswith(f"{sentence}\n\n")
    assert done.out.startswith(short.out.rstrip()), "the short form is the beginning of the long one"
    assert table in short.out
    assert "window/context" not in short.out
    assert sorted(results.glob("store/scores/*/*/*")) == scores
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert "checkpoint-30: fixed windows" in done.out
    assert "checkpoint-20: fixed windows" not in done.out
    for word in ("dropped tail", "window/context", "BOS", "unit"):
        assert word in done.out


def test_the_results_are_shown_like_those_of_any_run(measured: dict[str, Any], results: Path) -> None:
    rows = json.loads(milepost("show", results, "--json").out)
    fixed = [
        row["value"] for row in rows if (row["task"], row["metric"]) == ("ppl_fixed", "token_perplexity")
    ]
    assert fixed == [model["conventions"]["fixed"]["value"] for model in measured["models"]]


def test_the_length_that_is_meant_by_default_may_also_be_named(
    tiny_llama: Path, text: Path, tmp_path: Path
) -> None:
    """Both ask the same, so that the second finds everything there."""
    options = ("--text", text, "--no-explain", "-o", tmp_path / "out", "--json")
    unnamed = milepost("ppl", tiny_llama, *options)
    named = milepost("ppl", tiny_llama, "--seqlen", 256, *options)
    assert (unnamed.status, named.status) == (0, 0), named.err
    assert json.loads(unnamed.out) == json.loads(named.out)
    assert "already scored" in named.err


def test_a_measurement_can_go_on_without_the_terminal(
    tiny_llama: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milepost.cli import detach

    started: list[list[str]] = []

    class Process:
        pid = 4711

        def __init__(self, words: list[str], **_: object) -> None:
            started.append(words)

        def wait(self, seconds: float) -> int:
            raise subprocess.TimeoutExpired("milepost", seconds)

    monkeypatch.setattr(detach.subprocess, "Popen", Process)
    done = milepost("ppl", tiny_llama, "--text", text, "--detach", "-o", tmp_path / "out")
    assert done.status == 0, done.err
    assert "process 4711 goes on" in done.out
    assert f"milepost status {tmp_path / 'out'}" in done.out
    (words,) = started
    assert words[1:4] == ["-m", "milepost", "ppl"]
    assert "--detach" not in words


def test_two_models_stand_side_by_side(tiny_run: Path, text: Path, tmp_path: Path) -> None:
    models = (tiny_run / "checkpoint-10", tiny_run / "checkpoint-30")
    done = milepost("ppl", *models, "--text", text, *WINDOWS, "--no-explain", "-o", tmp_path / "out")
    assert done.status == 0
    assert "ratio" in done.out
    assert "dropped tail" not in done.out
    assert "note:" not in done.out


def test_models_with_different_tokenizers_can_be_compared_per_byte_only(
    tiny_run: Path, text: Path, tmp_path: Path
) -> None:
    from tests.conftest import save_tiny_llama

    other = tmp_path / "other"
    save_tiny_llama(other, seed=7)
    path = other / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["model"]["merges"] = content["model"]["merges"][:3]
    path.write_text(json.dumps(content), "utf-8")
    options = ("--text", text, *WINDOWS, "--no-explain", "-o", tmp_path / "out")
    done = milepost("ppl", tiny_run / "checkpoint-10", other, *options)
    assert done.status == 0, done.err
    assert "have different tokenizers: their perplexities can be compared per byte only" in done.out


def test_a_text_of_one_endless_word_has_no_perplexity_per_word_but_all_others(
    tiny_llama: Path, tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("猫狗" * 400, "utf-8")
    done = milepost("ppl", tiny_llama, "--text", path, *WINDOWS, "-o", tmp_path / "out", "--json")
    assert done.status == 0, done.err
    (model,) = json.loads(done.out)["models"]
    word = model["conventions"]["word_perplexity"]
    assert word["value"] is None
    assert word["ln_value"] > 709
    assert model["conventions"]["byte_perplexity"]["value"] > 1
    gap = next(gap for gap in model["gaps"] if gap["to"] == "word_perplexity")
    assert gap["ratio"] is None
    assert gap["ln_product"] == pytest.approx(gap["ln_ratio"], rel=1e-9)
    printed = milepost("ppl", tiny_llama, "--text", path, *WINDOWS, "-o", tmp_path / "out").out
    assert "e^" in printed
    assert "tiny-llama: fixed windows" in printed
    assert "tiny-llama tiny-llama" not in printed


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (("--seqlen", "300"), "windows of 300 tokens, but the model's context is 256", "--seqlen 256"),
        (("--seqlen", "1"), "seqlen is 1", "2 or more"),
        (("--stride", "0"), "stride is 0", "1 or more"),
        (("--seqlen", "32", "--stride", "33"), "a stride of 33 tokens", "--stride 32"),
        (("--text", "wikitext-2"), "there is no text 'wikitext-2'", "wikitext2"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(
    options: tuple[str, ...], said: str, hint: str, tiny_llama: Path, text: Path, tmp_path: Path
) -> None:
    done = milepost("ppl", tiny_llama, "--text", text, *options, "-o", tmp_path / "out")
    assert done.status == 2
    assert said in done.err
    assert hint in done.err
    assert not (tmp_path / "out").exists()


def test_a_text_shorter_than_a_window_is_refused_with_the_length_that_works(
    tiny_llama: Path, tmp_path: Path
) -> None:
    path = tmp_path / "short.txt"
    path.write_text("the cat sat on the mat")
    done = milepost("ppl", tiny_llama, "--text", path, "-o", tmp_path / "out")
    assert done.status == 2
    assert "fewer than one window of 256" in done.err
    assert "hint: pass --seqlen" in done.err
