"""Types of the options as keyword arguments of the library, which editors and type checkers show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from milepost.run.placement import ExecutorChoice

EngineChoice = Literal["auto", "packed", "padded", "reference", "hf-continuous", "openai"]


class ModelOptions(TypedDict, total=False):
    """The options of `EvalConfig` as Python callers give them, without `output_path`."""

    suite: str | None
    num_fewshot: int | None
    limit: float | None
    samples: Mapping[str, Sequence[int]] | str | None
    seed: str
    apply_chat_template: bool | str
    fewshot_as_multiturn: bool | None
    system_instruction: str | None
    gen_kwargs: str | Mapping[str, Any] | None
    include_path: str | Path | None
    metadata: Mapping[str, Any] | str | None
    allow_task_code: bool
    skip_missing_data: bool
    helm: str | Sequence[str]
    max_eval_instances: int | None
    max_train_instances: int | None
    num_train_trials: int | None
    helm_data: str | Path | None
    quick: bool
    plan: str | Path | None
    scores_only: bool
    steps: str | None
    tokenizer: str | None
    config: str | Path | None
    base: str | None
    device: str
    workers: int | str | None
    devices: str | Sequence[int]
    device_map: str | None
    executor: ExecutorChoice
    ray_address: str | None
    ray_local: bool
    send_records: bool
    slurm_partition: str | None
    slurm_account: str | None
    slurm_qos: str | None
    slurm_time: int
    slurm_gpus: int
    slurm_cpus: int
    slurm_options: str
    dtype: str
    engine: EngineChoice
    base_url: str | None
    served_model: str | None
    batch_size: str | int
    shard_tokens: int | None
    log_samples: bool
    repair: bool
    record: str
    record_project: str
    fresh_plan: bool
    verbosity: str


class EvalOptions(ModelOptions):
    """The options of `milepost.evaluate`."""

    output_path: str | Path
