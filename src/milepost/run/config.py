"""`EvalConfig`: every option of an evaluation, declared once.

The arguments of `milepost.evaluate`, the options of `milepost run`, `watch`, `compare` and `ppl`, the record
of a run in the results folder and the printed command lines are all made from its fields, and from those of
its two parts: `TaskSettings` and `Placement`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from milepost.buckets import as_path
from milepost.errors import MilepostError
from milepost.options import option, options_of, words_of
from milepost.plan.shards import DEFAULT_SHARD_TOKENS
from milepost.run.keyword_options import EngineChoice, EvalOptions
from milepost.run.placement import Placement
from milepost.run.software_versions import can_compute_metrics
from milepost.sources import Steps
from milepost.tasks.settings import TaskSettings
from milepost.tasks.suites import load_suite
from milepost.text.credentials import remember, without_secrets
from milepost.text.language import Phrase

if TYPE_CHECKING:
    from typing_extensions import Unpack

DTYPES = ("auto", "float32", "float16", "bfloat16")
ENGINES: tuple[EngineChoice, ...] = get_args(EngineChoice)
SERVED = "server"
"""In place of a dtype that only the server knows."""
FEWEST_BATCH_TOKENS = 128
"""A smaller `--batch-size` is a number of sequences, as in lm_eval: no prompt fits into so few tokens."""
QUICK_DOCS = 100
"""Docs per task of a quick test."""

RUN = frozenset({"run"})
RUN_AND_WATCH = frozenset({"run", "watch"})
MODELS = frozenset({"run", "watch", "compare", "ppl"})
"""Every command that runs models."""


def _batch_tokens(given: str | int) -> int | None:
    if str(given).partition(":")[0] == "auto":  # lm_eval's auto:N measures N times; here once is enough
        return None
    try:
        return int(given)
    except ValueError as error:
        raise MilepostError(
            Phrase("--batch-size {given!r} is not a number", given=given),
            "pass auto, or tokens per forward pass such as 8192",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """The options of an evaluation: sources, tasks, engine, results folder."""

    sources: tuple[str, ...]
    tasks: TaskSettings
    placement: Placement = Placement()
    quick: bool = option(
        False,
        commands=RUN,
        help="A test: first, middle and last checkpoint, 100 docs per task; says how long the full job"
        " takes.",
    )
    plan: Path | None = option(
        None,
        metavar="FOLDER",
        commands=RUN,
        help="Ask what --save-plan saved, in place of --tasks.",
    )
    """`tasks` are then those of the plan."""
    scores_only: bool = option(
        False,
        commands=RUN,
        help="Store scores and no metrics, as where lm_eval is missing; `milepost metrics` computes them"
        " later.",
    )
    output_path: Path = option(
        short="-o",
        command_default="milepost-results",
        shows_default=True,
        commands=MODELS - {"compare"},
        help="Results folder, new or of an earlier run; may be in a bucket (s3://, gs://).",
        parse=as_path,
        dump=str,
    )
    steps: Steps | None = option(
        None,
        metavar="BEGIN:END:STRIDE",
        commands=MODELS - {"compare"},
        help="Only these steps, END included; parts may be empty.",
        parse=Steps.parse,
        dump=str,
    )
    tokenizer: str | None = option(
        None, commands=MODELS, help="For checkpoints without one: a folder or Hub address."
    )
    config: Path | None = option(
        None,
        metavar="FILE",
        commands=MODELS,
        help="A config in place of any that lies beside the checkpoints.",
    )
    base: str | None = option(
        None, metavar="MODEL", commands=MODELS, help="The base model of adapters: a folder or Hub address."
    )
    device: str = option(
        "auto",
        shows_default=True,
        commands=MODELS,
        changes_results=False,
        help="auto, cpu, cuda, cuda:N or mps.",
    )
    dtype: str = option(
        "auto", shows_default=True, commands=MODELS, help="auto, float32, float16 or bfloat16."
    )
    engine: EngineChoice = option(
        "auto",
        shows_default=True,
        commands=MODELS,
        help="auto, packed, padded or reference: same scores. hf-continuous: texts by transformers'"
        " continuous batching. openai: a running server, see --base-url.",
    )
    base_url: str | None = option(
        None,
        metavar="URL",
        help="Address of a server with OpenAI's completions endpoint (vLLM, SGLang), for --engine openai.",
    )
    served_model: str | None = option(
        None, metavar="NAME", help="The server's model to ask; needed where it serves several."
    )
    batch_tokens: int | None = option(
        None,
        name="batch_size",
        kind=str,
        short="-b",
        metavar="auto|TOKENS",
        shows_default=True,
        commands=MODELS,
        changes_results=False,
        help="Tokens per forward pass; a number below 128 counts sequences, as in lm_eval.",
        parse=_batch_tokens,
        dump=lambda tokens: "auto" if tokens is None else tokens,
    )
    shard_tokens: int = option(
        DEFAULT_SHARD_TOKENS,
        commands=MODELS,
        help="Tokens per unit of work and storage.",
    )
    log_samples: bool = option(
        False,
        short="-s",
        commands=RUN,
        changes_results=False,
        help="Also write lm_eval's result and sample files.",
    )
    repair: bool = option(
        True,
        negative=True,
        shows_default=True,
        changes_results=False,
        help="Fetch a damaged file of the Hub's cache again.",
    )
    record: str = option(
        "none",
        flag_value="trackio",
        metavar="[trackio|wandb|none]",
        shows_default=True,
        commands=RUN_AND_WATCH,
        changes_results=False,
        help="Also record each checkpoint's metrics there, one run per series; without a name, in trackio.",
    )
    record_project: str = option(
        "milepost",
        shows_default=True,
        commands=RUN_AND_WATCH,
        changes_results=False,
        help="The recorder's project.",
    )
    fresh_plan: bool = option(
        False, changes_results=False, help="Build prompts and tokens anew, whatever is cached."
    )
    verbosity: str = option(
        "WARNING",
        commands=MODELS,
        changes_results=False,
        help="Log level by name; LMEVAL_LOG_LEVEL is respected too.",
    )

    def __post_init__(self) -> None:
        for address in (*self.sources, self.base_url or ""):
            remember(address)
        if not self.sources:
            raise MilepostError("no SOURCE given", "name a folder of checkpoints or hf://org/name@step-*")
        if self.dtype not in DTYPES:
            raise MilepostError(
                Phrase("unknown dtype {dtype!r}", dtype=self.dtype), "one of " + ", ".join(DTYPES)
            )
        if self.engine not in ENGINES:
            raise MilepostError(
                Phrase("unknown engine {engine!r}", engine=self.engine), "one of " + ", ".join(ENGINES)
            )
        if (self.engine == "openai") != (self.base_url is not None):
            raise MilepostError(
                "--engine openai and --base-url go together",
                "for example --engine openai --base-url http://127.0.0.1:8000/v1",
            )
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise MilepostError(
                Phrase("--batch-size {given} is not positive", given=self.batch_tokens),
                "pass auto or a token count",
            )
        if self.shard_tokens < 1:
            raise MilepostError(
                Phrase("--shard-tokens {shard_tokens} is not positive", shard_tokens=self.shard_tokens),
                Phrase(
                    "omit it to use the default ({DEFAULT_SHARD_TOKENS:,})",
                    DEFAULT_SHARD_TOKENS=DEFAULT_SHARD_TOKENS,
                ),
            )

    @classmethod
    def from_options(
        cls,
        sources: str | Path | Sequence[str | Path],
        tasks: str | Sequence[str] = (),
        **options: Unpack[EvalOptions],
    ) -> EvalConfig:
        """Build a config from the arguments of `milepost.evaluate`.

        Raises:
            MilepostError: an argument is invalid; the hint says what would be valid.
            TypeError: an option does not exist.
        """
        listed = [sources] if isinstance(sources, str | Path) else list(sources)
        return cls._parse([str(source) for source in listed], {"tasks": tasks, **options})

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> EvalConfig:
        """Read what `to_json` returned; raises as `from_options`."""
        options = dict(record)
        return cls._parse(options.pop("sources"), options)

    @classmethod
    def _parse(cls, sources: Sequence[str], given: Mapping[str, Any]) -> EvalConfig:
        unknown = sorted(given.keys() - OPTIONS.keys())
        if unknown:
            raise TypeError(f"there is no option {', '.join(unknown)}")
        values = {name: OPTIONS[name][1].parse(value) for name, value in given.items() if value is not None}

        def fields_of(part: type) -> dict[str, Any]:
            own = options_of(part).items()
            return {declared.name: values[name] for name, (declared, _) in own if name in values}

        fields, task_fields = fields_of(cls), fields_of(TaskSettings)
        placement = Placement(**fields_of(Placement))
        if "plan" in fields:
            tasks = _saved_tasks(fields, task_fields)
            return cls(sources=tuple(sources), tasks=tasks, placement=placement, **fields)
        if "suite" in task_fields:
            suite = load_suite(task_fields["suite"])
            task_fields["names"] = (*suite.tasks, *task_fields.get("names", ()))
            task_fields["helm"] = (*suite.helm, *task_fields.get("helm", ()))
            task_fields["shots"] = suite.shots
        if fields.get("quick"):
            if task_fields.keys() & {"limit", "samples"}:
                raise MilepostError(
                    "--quick chooses the docs itself", "leave out --limit and --samples, or --quick"
                )
            task_fields["limit"] = QUICK_DOCS
        tasks = TaskSettings(**task_fields)
        return cls(sources=tuple(sources), tasks=tasks, placement=placement, **fields)

    def to_json(self) -> dict[str, Any]:
        """Return the sources and every option that differs from its default, in a form that JSON holds."""
        return {"sources": list(self.sources), **self._given()}

    def command_line(self) -> str:
        """Return `milepost run ...`, quoted for a shell, without passwords and what changes no result."""
        words = [
            word
            for name, value in self._given().items()
            if OPTIONS[name][1].changes_results
            and (name != "engine" or value in ("openai", "hf-continuous"))  # the others give the same scores
            for word in words_of(OPTIONS[name][1], value)
        ]
        return without_secrets(shlex.join(["milepost", "run", *self.sources, *words]))

    def full_job(self) -> EvalConfig:
        """Return the job that a quick test is a test of."""
        return replace(self, quick=False, tasks=replace(self.tasks, limit=None))

    def _given(self) -> dict[str, Any]:
        if self.plan is not None:
            return {name: value for name, value in self._differing() if name not in options_of(TaskSettings)}
        return dict(self._differing())

    def _differing(self) -> Iterator[tuple[str, Any]]:
        """Yield name and JSON form of every option that differs from its default."""
        suite = load_suite(self.tasks.suite) if self.tasks.suite else None
        listed = {"tasks": suite.tasks, "helm": suite.helm} if suite else {}
        tasks = replace(self.tasks, limit=None) if self.quick else self.tasks
        parts = dict.fromkeys(options_of(TaskSettings), tasks) | dict.fromkeys(
            options_of(Placement), self.placement
        )
        for name, (declared, described) in OPTIONS.items():
            value = getattr(parts.get(name, self), declared.name)
            if name in listed:
                value = tuple(task for task in value if task not in listed[name])
            if value != declared.default and value != ():
                yield name, described.dump(value)

    @property
    def leaves_metrics(self) -> bool:
        """Return whether this run stores scores and computes no metrics."""
        return self.scores_only or not can_compute_metrics()

    def budget_tokens(self, max_length: int) -> int | None:
        """Return the tokens per forward pass of a model with this context length; None for the engine's."""
        if self.batch_tokens is None or self.batch_tokens >= FEWEST_BATCH_TOKENS:
            return self.batch_tokens
        return self.batch_tokens * max_length

    @property
    def asked_dtype(self) -> str:
        """The value of `--dtype`; `server` where only a server knows its dtype."""
        return SERVED if self.engine == "openai" else self.dtype


def _saved_tasks(fields: Mapping[str, Any], task_fields: Mapping[str, Any]) -> TaskSettings:
    """Return the settings that a saved plan was made with; no option may change them."""
    from milepost.run.plans.plan_folder import read_saved_plan

    standard = {declared.name: declared.default for declared, _ in options_of(TaskSettings).values()}
    changed = {name for name, value in task_fields.items() if value not in (standard[name], ())}
    if (
        changed
        or fields.get("quick")
        or fields.get("shard_tokens", DEFAULT_SHARD_TOKENS) != DEFAULT_SHARD_TOKENS
    ):
        raise MilepostError(
            "a saved plan has its own tasks and settings",
            "leave out --plan, or --tasks and what changes their prompts",
        )
    return read_saved_plan(fields["plan"]).settings


OPTIONS = options_of(TaskSettings, EvalConfig, Placement)
"""Every option by its argument name: the field that holds it, and its description."""


def check_options(command: str, options: Mapping[str, Any]) -> None:
    """Check that `command` has all of these options.

    Raises:
        TypeError: it lacks an option.
    """
    for name in options:
        if name not in OPTIONS or command not in OPTIONS[name][1].commands:
            raise TypeError(f"{command} has no option {name!r}")
