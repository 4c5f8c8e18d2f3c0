"""Everything that one `milepost run` was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from milepost.errors import MilepostError
from milepost.plan.shards import DEFAULT_SHARD_TOKENS
from milepost.run.versions import can_compute_metrics
from milepost.sources import Steps
from milepost.tasks.settings import TaskSettings

DTYPES = ("auto", "float32", "float16", "bfloat16")
RunEngineName = Literal["auto", "packed", "padded", "reference", "hf-continuous", "openai"]
ENGINES: tuple[RunEngineName, ...] = ("auto", "packed", "padded", "reference", "hf-continuous", "openai")
SERVED = "server"
"""In place of a dtype, where only the server knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What to evaluate, on what, and where the results go."""

    sources: tuple[str, ...]
    tasks: TaskSettings
    output_path: Path
    steps: Steps | None = None
    tokenizer: str | None = None
    """A tokenizer for checkpoints that have none of their own: a folder or a Hub address."""
    config: Path | None = None
    """A config in place of any that lies beside the checkpoints."""
    base: str | None = None
    """The model that adapters change, in place of the one they name: a folder or a Hub address."""
    device: str = "auto"
    dtype: str = "auto"
    engine: RunEngineName = "auto"
    base_url: str | None = None
    """Where the engine `openai` finds its server, such as `http://127.0.0.1:8000/v1`."""
    served_model: str | None = None
    """The model's name there; None where it serves but one."""
    batch_tokens: int | None = None
    """Tokens per forward pass; None chooses from free memory."""
    shard_tokens: int = DEFAULT_SHARD_TOKENS
    log_samples: bool = False
    repair: bool = True
    """Whether a damaged file in the Hub's cache is fetched again."""
    reuse_plan: bool = True
    """Whether a plan of an earlier run with the same questions may be taken from the cache."""
    ask: bool = False
    """Whether somebody is there to be asked before a long run begins."""
    models_after: int = 0
    """How many further models will be asked the same by other runs; an estimate of time counts them too."""
    plan: Path | None = None
    """A folder with a saved plan: its questions are asked, and `tasks` are those it was made for."""
    scores_only: bool = False
    """Whether metrics are left for later; they are also left where lm_eval is not installed."""
    quick: bool = False
    """Whether only the first, the middle and the last checkpoint of each series are asked."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise MilepostError("no SOURCE given", "name a folder of checkpoints or hf://org/name@step-*")
        if self.dtype not in DTYPES:
            raise MilepostError(f"unknown dtype {self.dtype!r}", "one of " + ", ".join(DTYPES))
        if self.engine not in ENGINES:
            raise MilepostError(f"unknown engine {self.engine!r}", "one of " + ", ".join(ENGINES))
        if (self.engine == "openai") != (self.base_url is not None):
            raise MilepostError(
                "--engine openai and --base-url go together",
                "for example --engine openai --base-url http://127.0.0.1:8000/v1",
            )
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise MilepostError(
                f"--batch-size {self.batch_tokens} is not positive", "pass auto or a token count"
            )
        if self.shard_tokens < 1:
            raise MilepostError(
                f"--shard-tokens {self.shard_tokens} is not positive", "the default is sensible"
            )

    @property
    def leaves_metrics(self) -> bool:
        """Whether this run stores scores and computes no metrics from them."""
        return self.scores_only or not can_compute_metrics()

    @property
    def asked_dtype(self) -> str:
        """`--dtype`; of a server nobody knows what it computes in."""
        return SERVED if self.engine == "openai" else self.dtype


def resolve_device(device: str) -> str:
    """`auto` becomes the first of cuda, mps, cpu that is there.

    Raises:
        MilepostError: the device asked for is not there.
    """
    if device == "cpu":
        return device
    import torch

    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    kind, _, number = device.partition(":")
    if kind == "cuda" and torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count():
        return device
    if device == "mps" and has_mps:
        return device
    there = ["cpu", *(["mps"] if has_mps else []), *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    raise MilepostError(f"there is no device {device!r} here", "auto, or one of " + ", ".join(there))
