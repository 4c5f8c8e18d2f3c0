"""What was asked of the tasks; everything that can change a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError


@dataclass(frozen=True, slots=True)
class Seeds:
    """lm_eval's four seeds, with its defaults; None leaves that generator unseeded.

    Source: lm_eval/_cli/run.py, `--seed`.
    """

    python: int | None = 0
    numpy: int | None = 1234
    torch: int | None = 1234
    fewshot: int | None = 1234

    @classmethod
    def parse(cls, text: str) -> Seeds:
        """`42` for all four, or four comma-separated values (`0,None,8,52`).

        Raises:
            MilepostError: neither one nor four values, or one that is no integer.
        """
        parts = [part.strip() for part in text.split(",")]
        try:
            values = [None if part == "None" else int(part) for part in parts]
        except ValueError:
            values = []
        if len(values) == 1:
            values *= 4
        if len(values) != 4:
            raise MilepostError(
                f"--seed {text!r} is neither one integer nor four",
                "for example --seed 42 or --seed 0,1234,1234,1234",
            )
        return cls(*values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """The tasks and how they are to be asked, in lm_eval's terms and with its defaults."""

    names: tuple[str, ...]
    num_fewshot: int | None = None
    suite: str | None = None
    """The named list that the first of the names come from."""
    shots: tuple[tuple[str, int], ...] = ()
    """(task, examples in the prompt) of the suite, for tasks that `num_fewshot` says nothing of."""
    limit: float | None = None
    """Docs per task: a count, or below 1 a share of the task's docs."""
    samples: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    """(task, doc ids) pairs; only these docs, and all docs of tasks not named."""
    seeds: Seeds = Seeds()
    apply_chat_template: bool | str = False
    fewshot_as_multiturn: bool | None = None
    """None: on with a chat template, off without, as in lm_eval's command line."""
    system_instruction: str | None = None
    gen_kwargs: str | None = None
    """Changes to the tasks' `generation_kwargs`, as lm_eval's `--gen_kwargs`: JSON or `key=value,...`."""
    include_path: Path | None = None
    metadata: tuple[tuple[str, Any], ...] = ()
    """Parameters of tasks that have some, as of lm_eval's `--metadata`: for `ppl_*` text, seqlen, stride."""
    allow_task_code: bool = False
    """Whether YAML of `include_path` may import and run Python (`!function`, `class`, templates)."""

    def __post_init__(self) -> None:
        if not self.names:
            raise MilepostError(
                "no tasks given",
                "name some with --tasks, for example --tasks arc_easy,piqa, or --suite early",
            )
        if self.limit is not None and not (self.limit > 0):
            raise MilepostError(
                f"--limit {self.limit:g} selects no docs", "pass a count of 1 or more, or a share such as 0.1"
            )
        if self.limit is not None and self.limit >= 1 and not float(self.limit).is_integer():
            raise MilepostError(
                f"--limit {self.limit:g} is no whole number of docs", "pass 10, or a share such as 0.1"
            )
        if self.limit is not None and self.samples is not None:
            raise MilepostError("--limit and --samples exclude each other", "pass one of them")
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise MilepostError(f"--num-fewshot {self.num_fewshot} is negative", "pass 0 or more")

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> TaskSettings:
        """The settings that a plan's record holds as JSON (`asked`)."""
        lists = {
            name: tuple((task, tuple(value) if name == "samples" else value) for task, value in plain[name])
            for name in ("shots", "samples", "metadata")
            if plain.get(name) is not None
        }
        path = plain.get("include_path")
        return cls(
            **{
                **plain,
                **lists,
                "names": tuple(plain["names"]),
                "seeds": Seeds(**plain["seeds"]),
                "include_path": None if path is None else Path(path),
            }
        )

    @property
    def trusts_task_files(self) -> bool:
        """Whether all task files may run Python: lm_eval's may, those of `include_path` only with leave."""
        return self.include_path is None or self.allow_task_code

    def num_fewshot_of(self, task: str) -> int | None:
        """Examples in the prompts of `task`; None for its own number."""
        return dict(self.shots).get(task) if self.num_fewshot is None else self.num_fewshot

    @property
    def multiturn(self) -> bool:
        if self.fewshot_as_multiturn is None:
            return bool(self.apply_chat_template)
        return self.fewshot_as_multiturn

    def samples_of(self, task: str) -> list[int] | None:
        """Doc ids to evaluate of `task`, ascending; None for all."""
        return next((sorted(set(ids)) for name, ids in self.samples or () if name == task), None)
