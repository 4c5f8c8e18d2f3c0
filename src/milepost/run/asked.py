"""From the words of a person or a script to the settings of a run: the arguments of `milepost.evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError
from milepost.run.quick import QUICK_DOCS
from milepost.run.saved_plan import read_saved_plan
from milepost.run.settings import RunEngineName, RunSettings
from milepost.sources import Steps
from milepost.tasks.settings import Seeds, TaskSettings
from milepost.tasks.suites import load_suite


def run_settings(
    sources: str | Path | Sequence[str | Path],
    tasks: str | Sequence[str] = (),
    *,
    output_path: str | Path,
    suite: str | None = None,
    plan: str | Path | None = None,
    scores_only: bool = False,
    quick: bool = False,
    num_fewshot: int | None = None,
    limit: float | None = None,
    samples: Mapping[str, Sequence[int]] | None = None,
    seed: str = "0,1234,1234,1234",
    apply_chat_template: bool | str = False,
    fewshot_as_multiturn: bool | None = None,
    system_instruction: str | None = None,
    gen_kwargs: str | Mapping[str, Any] | None = None,
    include_path: str | Path | None = None,
    metadata: Mapping[str, Any] | None = None,
    allow_task_code: bool = False,
    steps: str | None = None,
    tokenizer: str | None = None,
    config: str | Path | None = None,
    base: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    engine: RunEngineName = "auto",
    base_url: str | None = None,
    served_model: str | None = None,
    batch_size: str | int = "auto",
    shard_tokens: int | None = None,
    log_samples: bool = False,
    repair: bool = True,
    ask: bool = False,
    models_after: int = 0,
    reuse_plan: bool = True,
) -> RunSettings:
    """The settings that the arguments mean; each is explained at `library.evaluate`.

    Raises:
        MilepostError: an argument that cannot be.
    """
    if quick and (limit is not None or samples is not None):
        raise MilepostError("--quick chooses the docs itself", "leave out --limit and --samples, or --quick")
    listed = load_suite(suite) if suite is not None else None
    given = [sources] if isinstance(sources, str | Path) else list(sources)
    names = [*(listed.tasks if listed else ()), *([tasks] if isinstance(tasks, str) else tasks)]
    chosen: dict[str, Any] = {} if shard_tokens is None else {"shard_tokens": shard_tokens}

    def asked(names: Iterable[str]) -> TaskSettings:
        return TaskSettings(
            names=tuple(names),
            suite=suite,
            shots=listed.shots if listed else (),
            num_fewshot=num_fewshot,
            limit=QUICK_DOCS if quick else limit,
            samples=None if samples is None else tuple((task, tuple(ids)) for task, ids in samples.items()),
            seeds=Seeds.parse(seed),
            apply_chat_template=apply_chat_template,
            fewshot_as_multiturn=fewshot_as_multiturn,
            system_instruction=system_instruction,
            gen_kwargs=gen_kwargs
            if gen_kwargs is None or isinstance(gen_kwargs, str)
            else json.dumps(dict(gen_kwargs)),
            include_path=Path(include_path) if include_path is not None else None,
            metadata=tuple(sorted((metadata or {}).items())),
            allow_task_code=allow_task_code,
        )

    every = [name.strip() for listed in names for name in listed.split(",") if name.strip()]
    if plan is not None and (every or quick or chosen or asked("-") != TaskSettings(names=("-",))):
        raise MilepostError(
            "a saved plan says itself what is asked",
            "leave out --plan, or --tasks and what changes their prompts",
        )
    return RunSettings(
        sources=tuple(str(source) for source in given),
        tasks=asked(every) if plan is None else read_saved_plan(Path(plan)).settings,
        plan=None if plan is None else Path(plan),
        scores_only=scores_only,
        output_path=Path(output_path),
        steps=Steps.parse(steps) if steps is not None else None,
        tokenizer=tokenizer,
        config=Path(config).expanduser() if config is not None else None,
        base=base,
        device=device,
        dtype=dtype,
        engine=engine,
        base_url=base_url,
        served_model=served_model,
        batch_tokens=_batch_tokens(batch_size),
        log_samples=log_samples,
        repair=repair,
        ask=ask,
        models_after=models_after,
        reuse_plan=reuse_plan,
        quick=quick,
        **chosen,
    )


def _batch_tokens(batch_size: str | int) -> int | None:
    if batch_size == "auto":
        return None
    try:
        return int(batch_size)
    except ValueError as error:
        raise MilepostError(
            f"--batch-size {batch_size!r} is no number", "pass auto, or tokens per forward pass such as 8192"
        ) from error
