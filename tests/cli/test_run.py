"""`milepost run`: what a person may type wrong, and what the command does when all is well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.called import Called, milepost, refusal
from tests.conftest import NO_HUB
from tests.run.own_tasks import write_task, write_tasks

Run = Callable[..., Called]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def run(tiny_llama: Path, tasks: Path, tmp_path: Path) -> Run:
    """`milepost run` with a sound command; what a test gives comes later and so counts."""

    def called(*arguments: object, source: object = tiny_llama, names: str = "where") -> Called:
        out = tmp_path / "out"
        return milepost("run", source, "-t", names, "--include-path", tasks, "-L", 2, "-o", out, *arguments)

    return called


WRONG = {
    "a count of 0": (["-L", "0"], "--limit 0"),
    "a negative count": (["-L", "-3"], "--limit -3"),
    "half a doc": (["-L", "2.5"], "--limit 2.5"),
    "endless docs": (["-L", "inf"], "--limit inf"),
    "a limit in words": (["-L", "some"], "'some'"),
    "no such option": (["--limits", "3"], "--limits"),
    "a control character": (["--no-\x1b[31m"], "--no-\\x1b[31m"),
    "no such device": (["--device", "tpu"], "'tpu'"),
    "no such GPU": (["--device", "cuda:x"], "'cuda:x'"),
    "no such dtype": (["--dtype", "int8"], "'int8'"),
    "no such engine": (["--engine", "warp"], "'warp'"),
    "no tokens per pass": (["-b", "0"], "--batch-size 0"),
    "a batch in words": (["-b", "many"], "'many'"),
    "a seed in words": (["--seed", "x"], "'x'"),
    "two seeds": (["--seed", "1,2"], "'1,2'"),
    "negative few-shot": (["-f", "-1"], "--num-fewshot -1"),
    "more examples than there are": (["-f", "500"], "500-shot"),
    "no such level": (["--verbosity", "LOUD"], "'LOUD'"),
    "steps in words": (["--steps", "x"], "x"),
    "no such steps": (["--steps", "7"], "7"),
    "no such tokenizer": (["--tokenizer", "/nowhere"], "/nowhere"),
    "no template": (["--apply-chat-template"], "chat template"),
    "limit and samples": (["--samples", '{"where": [0]}'], "--limit and --samples"),
    "no such folder of tasks": (["--include-path", "/nowhere"], "/nowhere"),
    "output below a file": (["-o", "{model}/config.json/x"], "config.json is a file"),
    "output is a file": (["-o", "{model}/config.json"], "config.json is a file"),
    "output is something else": (["-o", "{model}"], "not a results folder"),
    "quick and a limit": (["--quick"], "--quick"),
    "no such suite": (["--suite", "earli"], "no suite 'earli'"),
    "no shard": (["--shard-tokens", "0"], "--shard-tokens 0"),
}


@pytest.mark.parametrize(("arguments", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_option_is_one_line_a_hint_and_status_2(
    run: Run, tiny_llama: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    before = sorted(tiny_llama.iterdir())
    assert named in refusal(run(*[argument.replace("{model}", str(tiny_llama)) for argument in arguments]))
    assert not (tmp_path / "out").exists()
    assert sorted(tiny_llama.iterdir()) == before


SAMPLES = {
    "{": "not valid JSON",
    "/nowhere": "/nowhere",
    '{"where": ["a"]}': "doc ids",
    '{"where": []}': "no docs",
    '{"where": [99]}': "no doc 99",
    '{"farm": [0]}': "farm",
}


@pytest.mark.parametrize("samples", SAMPLES)
def test_samples_that_name_no_docs_are_refused(
    tiny_llama: Path, tasks: Path, tmp_path: Path, samples: str
) -> None:
    out = tmp_path / "out"
    called = milepost(
        "run", tiny_llama, "-t", "farm", "--include-path", tasks, "-o", out, "--samples", samples
    )
    assert SAMPLES[samples] in refusal(called)
    assert not out.exists()


NAMES = {
    "wherre": "did you mean where",
    "whe?": "'whe?'",
    " , ": "no tasks",
}


@pytest.mark.parametrize("names", NAMES)
def test_tasks_that_cannot_be_scored_are_refused_before_any_work(
    run: Run, tmp_path: Path, names: str
) -> None:
    assert NAMES[names] in refusal(run(names=names))
    assert not (tmp_path / "out").exists()


def test_a_missing_source_is_told_with_what_is_beside_it(run: Run, tiny_llama: Path) -> None:
    assert tiny_llama.name in refusal(run(source=tiny_llama.with_name("tiny-lama")))


def test_a_pattern_that_matches_nothing_shows_the_nearest_names(run: Run, hub: str, tmp_path: Path) -> None:
    assert "step-400" in refusal(run(source="hf://tiny/english-4m@stop-4*"))
    assert hub in refusal(run(source="hf://tiny/nothing"))
    assert not (tmp_path / "out").exists()


def test_yaml_that_does_not_parse_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    own = write_tasks(tmp_path / "own")
    (own / "broken.yaml").write_text("task: broken\noutput_type: [multiple_choice\ndoc_to_text: x\n")
    said = refusal(run("--include-path", own))
    assert f"{own / 'broken.yaml'}, line 3" in said


BROKEN_TASKS = {
    "a field that the data lacks": {"doc_to_text": "{{nothing}}"},
    "no such output type": {"output_type": "multiple_choices"},
    "no such split": {"test_split": "nowhere"},
    "a metric without a name": {"metric_list": [{"aggregation": "mean"}]},
    "a metric that is a script": {"metric_list": [{"metric": "./evil"}]},
}


@pytest.mark.parametrize("config", BROKEN_TASKS.values(), ids=BROKEN_TASKS)
def test_a_task_that_lm_eval_cannot_use_is_told_in_one_line(
    run: Run, tmp_path: Path, config: dict[str, object]
) -> None:
    sound = {
        "output_type": "multiple_choice",
        "doc_to_text": "the {{animal}}",
        "doc_to_choice": ["mat", "log"],
        "doc_to_target": 0,
    }
    path = write_task(tmp_path / "own", "broken", [{"animal": "cat"}] * 3, sound | config)
    called = run("--include-path", path.parent, names="broken")
    assert "error: " in called.err
    assert called.status == 2
    assert "Traceback" not in called.err
    assert not (tmp_path / "out").exists()


CODE = ("!function code.words", "!func%74ion code.words", "\n  !<!function>\n  code.words")


@pytest.mark.parametrize("tag", CODE)
def test_code_in_own_yaml_runs_only_with_leave(run: Run, tmp_path: Path, tag: str) -> None:
    (tmp_path / "own").mkdir()
    ran = tmp_path / "ran"
    (tmp_path / "own" / "code.py").write_text(
        f"open({str(ran)!r}, 'w').close()\ndef words(doc):\n    return 'the ' + doc['animal']\n"
    )
    config = {"output_type": "multiple_choice", "doc_to_choice": ["mat", "log"], "doc_to_target": 0}
    path = write_task(tmp_path / "own", "coded", [{"animal": "cat"}] * 3, config)
    path.write_text(path.read_text() + f"doc_to_text: {tag}\n")
    assert "coded.yaml, line" in refusal(run("--include-path", path.parent, names="coded"))
    assert not ran.exists()
    assert run("--include-path", path.parent, "--allow-task-code", names="coded").status == 0
    assert ran.exists()


def test_a_model_that_is_no_causal_language_model_is_refused(
    run: Run, tiny_llama: Path, tmp_path: Path
) -> None:
    bert = shutil.copytree(tiny_llama, tmp_path / "bert")
    (bert / "config.json").write_text(
        json.dumps({"model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 300})
    )
    assert "not for a causal language model" in refusal(run(source=bert))
    assert not (tmp_path / "out").exists()


def test_a_model_without_tokenizer_needs_one(run: Run, tiny_llama: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare" / "model"
    shutil.copytree(tiny_llama, bare, ignore=shutil.ignore_patterns("tokenizer*", "special*"))
    assert "no tokenizer" in refusal(run(source=bare))
    assert not (tmp_path / "out").exists()
    assert run("--tokenizer", tiny_llama, source=bare).status == 0


@pytest.mark.slow
def test_data_that_cannot_be_fetched_is_told_with_its_address(tiny_llama: Path, tmp_path: Path) -> None:
    """In a process of its own, as huggingface_hub reads its environment when it is imported."""
    empty = os.environ | {"HF_HOME": str(tmp_path / "empty"), "HF_ENDPOINT": NO_HUB}
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "milepost",
        "run",
        tiny_llama,
        "-t",
        "arc_easy",
        "-o",
        tmp_path / "out",
    ]
    down = subprocess.run(command, env=empty, capture_output=True, text=True, check=False)
    assert NO_HUB in refusal(Called(down.returncode, down.stdout, down.stderr))
    assert "HF_ENDPOINT" in down.stderr
    assert not (tmp_path / "out").exists()


def test_offline_mode_is_named_where_data_is_not_in_the_cache(
    run: Run, hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets.config
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    said = refusal(run(names="openbookqa"))
    assert "openbookqa" in said
    assert "HF_HUB_OFFLINE" in said


def test_json_is_an_array_of_the_figures(run: Run) -> None:
    rows = json.loads(run("--json", names="farm").out)
    assert {row["task"] for row in rows} == {"farm", "where", "who"}
    assert set(rows[0]) >= {"series", "checkpoint", "step", "task", "metric", "value", "stderr", "chance"}


def test_the_run_ends_with_the_table_and_a_summary(run: Run, tiny_run: Path) -> None:
    called = run(source=tiny_run)
    assert [step in called.out for step in ("10", "20", "30")] == [True] * 3
    lines = called.said
    assert [line[:5] for line in lines[:3]] == ["[1/3]", "[2/3]", "[3/3]"]
    assert lines[-1].startswith("3 scored; results in ")
    again = run(source=tiny_run)
    assert again.out == called.out
    assert again.err.splitlines()[-1].startswith("3 already scored; ")


def test_a_quick_test_says_how_long_the_full_job_takes_and_how_to_ask_for_it(
    tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    called = milepost(
        "run", tiny_run, "-t", "farm", "--include-path", tasks, "-o", tmp_path / "out", "--quick"
    )
    assert called.status == 0
    *_, said, command = called.err.splitlines()
    assert said.startswith("the full job, 3 checkpoints x 16 docs: about ")
    assert "measured here" in said
    assert command.startswith(f"  milepost run {tiny_run} --tasks farm ")
    assert "--quick" not in command


def test_verbose_says_that_tokens_were_made_once_and_how_long_it_took(run: Run, tiny_run: Path) -> None:
    said = run("-v", "--fresh-plan", source=tiny_run).err
    (line,) = [line for line in said.splitlines() if "tokenising" in line and " s (" in line]
    assert "once" in line
    quiet = run("--verbosity", "ERROR", source=tiny_run).err
    assert " s (" not in quiet


def test_lm_evals_log_level_counts_more_than_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMEVAL_LOG_LEVEL", "info")
    assert "plan" in run("--verbosity", "ERROR").err
    monkeypatch.setenv("LMEVAL_LOG_LEVEL", "shout")
    assert "'shout'" in refusal(run())


SYSTEM = "{% set _ = cycler.__init__.__globals__.os.system('touch TRACE') %}"
REACHING_OUT = {
    "through a global": ("doc_to_text", SYSTEM),
    "in the choices": ("doc_to_choice", SYSTEM + "{{ places }}"),
    "through a string": ("doc_to_text", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "through a format": ("doc_to_text", "{{ '{0.__class__.__init__.__globals__}'.format(text) }}"),
}


@pytest.mark.parametrize(("key", "template"), REACHING_OUT.values(), ids=REACHING_OUT)
def test_a_template_that_reaches_for_python_is_refused_unless_task_code_is_allowed(
    run: Run, tmp_path: Path, key: str, template: str
) -> None:
    trace = tmp_path / "trace"
    config = {"output_type": "multiple_choice", "doc_to_text": "{{text}}", "doc_to_target": 0}
    config |= {"doc_to_choice": ["mat", "log"], key: template.replace("TRACE", str(trace))}
    docs = [{"text": "the cat sat on the", "places": ["mat", "log"]}]
    own = write_task(tmp_path / "own", "sly", docs, config).parent
    assert "--allow-task-code" in refusal(run("--include-path", own, names="sly"))
    assert not trace.exists()
    if "os.system" in template:  # no dud: with leave it runs
        run("--include-path", own, "--allow-task-code", names="sly")
        assert trace.exists()
