"""The command that people are told to type asks what was asked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from milepost.cli.main import milepost
from milepost.cli.run import command
from milepost.run.command import command_line
from milepost.run.settings import RunSettings
from milepost.sources import Steps
from milepost.tasks.settings import Seeds, TaskSettings
from milepost.tasks.suites import load_suite


def parsed(settings: RunSettings) -> dict[str, Any]:
    """What `milepost run` makes of the command line."""
    words = shlex.split(command_line(settings))
    assert words[:2] == ["milepost", "run"]
    parent = milepost.make_context("milepost", [], resilient_parsing=True)
    context: click.Context = command.make_context("run", words[2:], parent=parent)
    return context.params


def test_only_what_was_chosen_is_spelt_out() -> None:
    settings = RunSettings(
        sources=("runs/mine",), tasks=TaskSettings(names=("a", "b")), output_path=Path("out")
    )
    assert command_line(settings) == "milepost run runs/mine --tasks a,b --output-path out"


def test_a_quick_test_of_a_suite_is_spelt_as_it_was_asked() -> None:
    suite = load_suite("early")
    tasks = TaskSettings(names=(*suite.tasks, "sciq"), suite="early", shots=suite.shots, limit=100)
    settings = RunSettings(sources=("mine",), tasks=tasks, output_path=Path("out"), quick=True)
    assert command_line(settings) == "milepost run mine --suite early --tasks sciq --quick --output-path out"


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
    settings = RunSettings(
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


@pytest.mark.parametrize("limit", [3, 0.25])
def test_a_limit_stays_what_it_was(limit: float) -> None:
    settings = RunSettings(
        sources=("x",), tasks=TaskSettings(names=("a",), limit=limit), output_path=Path("o")
    )
    assert parsed(settings)["limit"] == limit
