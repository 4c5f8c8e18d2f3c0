"""The command line that asks what some settings ask, so that people can be told what to type."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from milepost.plan.shards import DEFAULT_SHARD_TOKENS
from milepost.run.settings import RunSettings
from milepost.tasks.settings import Seeds, TaskSettings
from milepost.tasks.suites import load_suite


def command_line(settings: RunSettings) -> str:
    """`milepost run ...`, quoted for a shell; options that only change how fast it goes are left out."""
    asked = replace(settings.tasks, limit=None) if settings.quick else settings.tasks  # it implies a limit
    options = [*_of_tasks(asked), *_of_run(settings)]
    words = [word for name, value in options for word in _words(name, value)]
    return shlex.join(["milepost", "run", *settings.sources, *words])


def _of_tasks(tasks: TaskSettings) -> Iterator[tuple[str, Any]]:
    seeds = tasks.seeds
    yield "--suite", tasks.suite
    listed = load_suite(tasks.suite).tasks if tasks.suite else ()
    yield "--tasks", ",".join(name for name in tasks.names if name not in listed) or None
    yield "--num-fewshot", tasks.num_fewshot
    yield "--limit", None if tasks.limit is None else f"{tasks.limit:g}"
    yield "--samples", None if tasks.samples is None else json.dumps({t: list(i) for t, i in tasks.samples})
    every = (seeds.python, seeds.numpy, seeds.torch, seeds.fewshot)
    yield "--seed", None if seeds == Seeds() else ",".join(str(seed) for seed in every)
    yield "--apply-chat-template", tasks.apply_chat_template or None
    yield "--fewshot-as-multiturn", None if tasks.fewshot_as_multiturn is None else str(tasks.multiturn)
    yield "--system-instruction", tasks.system_instruction
    yield "--gen-kwargs", tasks.gen_kwargs
    yield "--include-path", tasks.include_path
    yield "--metadata", json.dumps(dict(tasks.metadata)) if tasks.metadata else None
    yield "--allow-task-code", tasks.allow_task_code or None


def _of_run(settings: RunSettings) -> Iterator[tuple[str, Any]]:
    steps = settings.steps
    yield "--quick", settings.quick or None
    yield "--steps", None if steps is None else str(steps)
    yield "--tokenizer", settings.tokenizer
    yield "--config", settings.config
    yield "--base", settings.base
    yield "--engine", settings.engine if settings.engine in ("openai", "hf-continuous") else None
    yield "--base-url", settings.base_url
    yield "--served-model", settings.served_model
    yield "--dtype", None if settings.dtype == "auto" else settings.dtype
    chosen = settings.shard_tokens != DEFAULT_SHARD_TOKENS
    yield "--shard-tokens", settings.shard_tokens if chosen else None
    yield "--output-path", settings.output_path


def _words(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    return [name] if value is True else [name, str(value)]
