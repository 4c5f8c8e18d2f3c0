"""One list of options: arguments, command line, record and printed command agree."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

import milepost
from milepost.cli.compare import command as compare_command
from milepost.cli.main import milepost as commands
from milepost.cli.run import command as run_command
from milepost.cli.watch import command as watch_command
from milepost.run.config import OPTIONS, EvalConfig
from milepost.run.keyword_options import EvalOptions
from milepost.sources import Steps
from milepost.tasks.settings import Seeds, TaskSettings
from milepost.tasks.suites import load_suite


def parsed(settings: EvalConfig) -> dict[str, Any]:
    """What `milepost run` makes of the command line."""
    words = shlex.split(settings.command_line())
    assert words[:2] == ["milepost", "run"]
    parent = commands.make_context("milepost", [], resilient_parsing=True)
    context: click.Context = run_command.make_context("run", words[2:], parent=parent)
    return context.params


def test_only_what_was_chosen_is_spelt_out() -> None:
    settings = EvalConfig(
        sources=("runs/mine",), tasks=TaskSettings(names=("a", "b")), output_path=Path("out")
    )
    assert settings.command_line() == "milepost run runs/mine --tasks a,b --output-path out"


def test_a_quick_test_of_a_suite_is_spelt_as_it_was_asked() -> None:
    suite = load_suite("early")
    tasks = TaskSettings(names=(*suite.tasks, "sciq"), suite="early", shots=suite.shots, limit=100)
    settings = EvalConfig(sources=("mine",), tasks=tasks, output_path=Path("out"), quick=True)
    assert settings.command_line() == "milepost run mine --tasks sciq --suite early --quick --output-path out"


def test_everything_that_changes_a_number_is_in_it() -> None:
    tasks = TaskSettings(
        names=("a",),
        num_fewshot=5,
        samples=(("a", (0, 2)),),
        seeds=Seeds(1, None, 3, 4),
        apply_chat_template="tool's",
        fewshot_as_multiturn=False,
        system_instruction="Be brief; $HOME",
        include_path=Path("my tasks"),
        allow_task_code=True,
    )
    settings = EvalConfig(
        sources=("hf://org/name@step-*", "b"),
        tasks=tasks,
        output_path=Path("out dir"),
        steps=Steps.parse("2:9:3"),
        tokenizer="gpt2",
        dtype="bfloat16",
        shard_tokens=7,
    )
    found = parsed(settings)
    assert found["sources"] == ("hf://org/name@step-*", "b")
    expected = {
        "tasks": ("a",),
        "num_fewshot": 5,
        "samples": '{"a": [0, 2]}',
        "seed": "1,None,3,4",
        "apply_chat_template": "tool's",
        "fewshot_as_multiturn": False,
        "system_instruction": "Be brief; $HOME",
        "include_path": "my tasks",
        "allow_task_code": True,
        "steps": "2:9:3",
        "tokenizer": "gpt2",
        "dtype": "bfloat16",
        "shard_tokens": 7,
        "output_path": "out dir",
    }
    assert {name: found[name] for name in expected} == expected


OPTIONS_OF_A_CALL: dict[str, Any] = {
    "output_path": "out dir",
    "num_fewshot": 5,
    "samples": {"a": [0, 2]},
    "seed": "1,None,3,4",
    "apply_chat_template": True,
    "fewshot_as_multiturn": False,
    "system_instruction": "Be brief; $HOME",
    "gen_kwargs": {"max_gen_toks": 7},
    "include_path": "my tasks",
    "metadata": {"seqlen": 512, "text": "c4"},
    "allow_task_code": True,
    "steps": "2:9:3",
    "tokenizer": "gpt2",
    "config": "a.json",
    "base": "b",
    "device": "cpu",
    "dtype": "bfloat16",
    "engine": "openai",
    "base_url": "http://127.0.0.1:9/v1",
    "served_model": "m",
    "batch_size": 64,
    "shard_tokens": 7,
    "log_samples": True,
    "repair": False,
    "record": "trackio",
    "record_project": "p",
    "fresh_plan": True,
    "scores_only": True,
    "verbosity": "INFO",
}


def test_the_typed_arguments_are_the_options() -> None:
    assert set(EvalOptions.__annotations__) | {"tasks"} == set(OPTIONS)


def test_a_config_read_from_its_json_is_the_same() -> None:
    config = EvalConfig.from_options(["x", Path("y")], "a, b", **OPTIONS_OF_A_CALL)
    assert EvalConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    quick = EvalConfig.from_options("x", "sciq", output_path="o", suite="early", quick=True)
    assert EvalConfig.from_json(json.loads(json.dumps(quick.to_json()))) == quick
    assert quick.full_job().tasks.limit is None


def test_a_printed_command_line_asks_for_the_same_results() -> None:
    config = EvalConfig.from_options(["x", "y"], "a,b", **OPTIONS_OF_A_CALL)
    given = parsed(config)
    given = {name: value for name, value in given.items() if name in OPTIONS and value is not None}
    again = EvalConfig.from_options(["x", "y"], **given)
    kept = {name for name, (_, described) in OPTIONS.items() if described.changes_results}
    first, second = config.to_json(), again.to_json()
    assert {name: first[name] for name in first if name in kept} == {
        name: second[name] for name in second if name in kept
    }


def test_every_option_of_the_config_is_an_option_of_the_command_line() -> None:
    for name, module in (("run", run_command), ("watch", watch_command), ("compare", compare_command)):
        there = {parameter.name for parameter in module.params}
        assert {option for option, (_, of) in OPTIONS.items() if name in of.commands} <= there


def test_an_option_that_a_command_does_not_have_is_refused_in_python_too() -> None:
    with pytest.raises(TypeError, match="compare has no option 'steps'"):
        milepost.compare("a", "b", "piqa", output_path="o", steps="1:2")
    with pytest.raises(TypeError, match="no option nonsense"):
        milepost.evaluate("a", "piqa", output_path="o", nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("limit", [3, 0.25])
def test_a_limit_stays_what_it_was(limit: float) -> None:
    settings = EvalConfig(
        sources=("x",), tasks=TaskSettings(names=("a",), limit=limit), output_path=Path("o")
    )
    assert parsed(settings)["limit"] == limit


@pytest.mark.parametrize(
    ("given", "tokens"),
    [("auto", None), ("auto:4", None), ("4", 4 * 2048), ("127", 127 * 2048), ("128", 128), ("8192", 8192)],
)
def test_a_small_batch_size_counts_sequences_as_lm_eval_does(given: str, tokens: int | None) -> None:
    config = EvalConfig.from_options("mine", "a", output_path="out", batch_size=given)
    assert config.budget_tokens(2048) == tokens
