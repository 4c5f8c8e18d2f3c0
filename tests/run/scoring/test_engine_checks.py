"""`--engine openai`: a run's answers from a real local server are those of the same weights in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milepost.api.results import Results
from tests.cli.called import milepost as call
from tests.engine.completions import ECHO, NO_LOGPROBS, PROMPT_LOGPROBS, serving
from tests.run.own_tasks import write_task, write_tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    docs = [{"animal": animal, "answer": "mat"} for animal in ("cat", "dog", "rat")]
    asked = {
        "output_type": "generate_until",
        "doc_to_text": "the {{animal}} sat on the",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["o"], "max_gen_toks": 10, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    write_task(folder, "tell", docs, asked)
    return folder


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)


def run(source: Path, names: str, tasks: Path, out: Path, *more: object) -> Any:
    return call("run", source, "-t", names, "--include-path", tasks, "-o", out, *more)


def from_server(source: Path, names: str, tasks: Path, out: Path, url: str, *more: object) -> Any:
    return run(source, names, tasks, out, "--engine", "openai", "--base-url", url, *more)


def figures(out: Path) -> dict[tuple[str, str], float | None]:
    return {(row.task, row.metric): row.value for row in Results.open(out).rows()}


def texts(out: Path) -> list[Any]:
    from milepost.store import open_folder

    folder = open_folder(out)
    parts = [folder.read_generated(path) for path in sorted((out / "store/scores").rglob("*.parquet"))]
    return [found for part in parts for found in part if found is not None]


NAMES = "where,prose,tell"


@pytest.fixture(scope="module")
def in_memory(tiny_llama: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the same weights, computed here."""
    out = tmp_path_factory.mktemp("memory") / "out"
    assert run(tiny_llama, NAMES, tasks, out, "--dtype", "float32").status == 0
    return out


@pytest.mark.parametrize("knows", [ECHO, PROMPT_LOGPROBS])
def test_scores_and_texts_are_those_of_the_weights_in_memory(
    tiny_llama: Path, tasks: Path, model: tuple[Any, Any], in_memory: Path, tmp_path: Path, knows: str
) -> None:
    with serving(*model, knows=knows, busy=2) as served:
        called = from_server(tiny_llama, NAMES, tasks, tmp_path / "served", served.url)
        assert called.status == 0, called.err
        again = from_server(tiny_llama, NAMES, tasks, tmp_path / "served", served.url)
        assert "1 already scored" in again.err
    expected = figures(in_memory)
    assert figures(tmp_path / "served") == pytest.approx(expected, rel=1e-5)
    assert len(expected) >= 4
    assert texts(tmp_path / "served") == texts(in_memory)
    assert len(texts(tmp_path / "served")) == 3
    asked = [one for one in served.asked if "stop" in one]
    assert {(one["temperature"], one["max_tokens"], one["model"]) for one in asked} == {(0, 10, "tiny")}
    shown = call("show", tmp_path / "served", "--provenance")
    assert served.url in shown.out
    assert "openai" in shown.out


def test_a_server_without_log_probabilities_still_writes_texts(
    tiny_llama: Path, tasks: Path, model: tuple[Any, Any], tmp_path: Path
) -> None:
    with serving(*model, knows=NO_LOGPROBS) as served:
        assert from_server(tiny_llama, "tell", tasks, tmp_path / "out", served.url).status == 0
        refused = from_server(tiny_llama, "where", tasks, tmp_path / "out", served.url)
    assert refused.status == 2
    assert "gives no log-probabilities of prompts: status 400: echo is not supported" in refused.err


def test_a_server_is_found_before_anything_is_written(
    tiny_llama: Path, tiny_run: Path, tasks: Path, model: tuple[Any, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving(*model, names=("a", "b")) as served:
        refusals = {
            "serves 2 models": from_server(tiny_llama, "tell", tasks, out, served.url),
            "does not serve a model 'c'": from_server(
                tiny_llama, "tell", tasks, out, served.url, "--served-model", "c"
            ),
            "SOURCE stands for 3 checkpoints": from_server(tiny_run, "tell", tasks, out, served.url),
            "does not answer as an OpenAI-compatible server does": from_server(
                tiny_llama, "tell", tasks, out, served.url.removesuffix("/v1")
            ),
            "is not an address": from_server(tiny_llama, "tell", tasks, out, "127.0.0.1:8000"),
            "go together": run(tiny_llama, "tell", tasks, out, "--base-url", served.url),
        }
    for said, called in refusals.items():
        assert called.status == 2
        assert said in called.err
    assert not out.exists()


def test_options_that_a_server_does_not_know_are_not_left_out_in_silence(
    tiny_llama: Path, tasks: Path, model: tuple[Any, Any], tmp_path: Path
) -> None:
    with serving(*model) as served:
        options = ("--gen-kwargs", "no_repeat_ngram_size=2")
        refused = from_server(tiny_llama, "tell", tasks, tmp_path / "out", served.url, *options)
        assert not (tmp_path / "out").exists()
        drawn = ("--gen-kwargs", "do_sample=true,temperature=0.5,top_p=1.0,repetition_penalty=1.5")
        taken = from_server(tiny_llama, "tell", tasks, tmp_path / "out", served.url, *drawn)
    assert refused.status == 2
    assert "--engine openai does not support no_repeat_ngram_size, which tell asks for" in refused.err
    assert "no_repeat_ngram_size=0" in refused.err
    assert taken.status == 0, taken.err
    asked = served.asked[-1]
    assert {name: asked[name] for name in ("temperature", "top_p", "top_k", "repetition_penalty")} == {
        "temperature": 0.5, "top_p": 1.0, "top_k": 50, "repetition_penalty": 1.5,
    }  # fmt: skip


def test_nobody_at_the_address_is_told(
    tiny_llama: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milepost.engine.server import client

    monkeypatch.setattr(client, "FIRST_PAUSE_S", 0.0)
    called = from_server(tiny_llama, "tell", tasks, tmp_path / "out", "http://127.0.0.1:9/v1")
    assert called.status == 2
    assert "http://127.0.0.1:9/v1 cannot be reached" in called.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/v1", "http://[::1/v1", "127.0.0.1:8000/v1"])
def test_an_address_that_is_none_is_told(tiny_llama: Path, tasks: Path, tmp_path: Path, url: str) -> None:
    called = from_server(tiny_llama, "tell", tasks, tmp_path / "out", url)
    assert called.status == 2, called.err
    assert "is not an address" in called.err


def test_a_key_that_no_header_takes_is_told(
    tiny_llama: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "“key-1234”")
    called = from_server(tiny_llama, "tell", tasks, tmp_path / "out", "http://127.0.0.1:9/v1")
    assert called.status == 2, called.err
    assert "OPENAI_API_KEY" in called.err
