"""The options that choose tasks and decide their prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError
from milepost.options import json_object, option
from milepost.text.language import Phrase


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
        """Parse `42` for all four seeds, or four values with commas between them (`0,None,8,52`).

        Raises:
            MilepostError: neither one nor four values, or a value that is not an integer.
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
                Phrase("--seed {text!r} is neither one integer nor four", text=text),
                "for example --seed 42 or --seed 0,1234,1234,1234",
            )
        return cls(*values)

    def __str__(self) -> str:
        return ",".join(str(seed) for seed in (self.python, self.numpy, self.torch, self.fewshot))


_metadata = json_object("--metadata", '{"seqlen": 1024}')


def _task_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Split names at commas, in one string or several."""
    listed = [given] if isinstance(given, str) else given
    return tuple(name.strip() for text in listed for name in text.split(",") if name.strip())


def _helm_entries(given: str | Sequence[str]) -> tuple[str, ...]:
    """Entries and files as they were given; an entry has commas of its own."""
    listed = [given] if isinstance(given, str) else given
    return tuple(text.strip() for text in listed if text.strip())


def _samples(given: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    example = '{"arc_easy": [0, 1, 2]}'
    parsed = json_object("--samples", example)(given)
    for ids in parsed.values():
        if isinstance(ids, str) or not all(type(number) is int for number in ids):
            raise MilepostError("--samples must map task names to lists of doc ids", example)
    return tuple((task, tuple(ids)) for task, ids in parsed.items())


def _chat_template(given: bool | str) -> bool | str:
    return True if given == "true" else given or False


def _gen_kwargs(given: str | Mapping[str, Any]) -> str:
    return json.dumps(dict(given)) if isinstance(given, Mapping) else given


HELM_COUNTS = ("max_eval_instances", "max_train_instances", "num_train_trials")
"""Fields that only HELM's entries know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """The tasks of a run and their settings, with lm_eval's names and defaults."""

    names: tuple[str, ...] = option(
        (),
        name="tasks",
        short="-t",
        metavar="TASK,...",
        multiple=True,
        help="lm_eval task, group or tag names; globs work.",
        parse=_task_names,
        dump=",".join,
    )
    suite: str | None = option(
        None, metavar="NAME", help="A named list of tasks: early, smollm2, pruning or helm-lite."
    )
    """The suite's tasks come first in `names`."""
    num_fewshot: int | None = option(
        None, short="-f", help="Examples in the prompt; default: the task's own."
    )
    shots: tuple[tuple[str, int], ...] = ()
    """(task, examples in the prompt) of the suite; `num_fewshot` overrides them."""
    limit: float | None = option(None, short="-L", help="Docs per task: a count, or a share below 1.")
    samples: tuple[tuple[str, tuple[int, ...]], ...] | None = option(
        None,
        short="-E",
        help="JSON: doc ids by task, for example '{\"arc_easy\": [0, 2]}', or a file with it.",
        parse=_samples,
        dump=lambda samples: {task: list(ids) for task, ids in samples},
    )
    """(task, doc ids); tasks without an entry have all docs."""
    seeds: Seeds = option(
        Seeds(),
        name="seed",
        shows_default=True,
        help="python,numpy,torch,fewshot; or one for all.",
        parse=Seeds.parse,
        dump=str,
    )
    apply_chat_template: bool | str = option(
        False,
        flag_value="true",
        metavar="[NAME]",
        help="Ask through the tokenizer's chat template.",
        parse=_chat_template,
    )
    fewshot_as_multiturn: bool | None = option(
        None,
        flag_value="true",
        help="Few-shot examples as a conversation; on with a chat template.",
    )
    """None: on with a chat template, off without, as in lm_eval's command line."""
    system_instruction: str | None = option(None, help="Text put before every prompt.")
    gen_kwargs: str | None = option(
        None,
        metavar="KEY=VALUE,...",
        help="Change the tasks' generation_kwargs, as in lm_eval; JSON works.",
        parse=_gen_kwargs,
    )
    include_path: Path | None = option(
        None,
        help="Folder with YAML tasks of your own.",
    )
    metadata: tuple[tuple[str, Any], ...] = option(
        (),
        help="JSON: parameters of tasks, for example '{\"seqlen\": 1024}' for ppl_fixed, or a file.",
        parse=lambda given: tuple(sorted(_metadata(given).items())),
        dump=dict,
    )
    """lm_eval's `--metadata`; `ppl_*` tasks take text, seqlen and stride."""
    allow_task_code: bool = option(False, help="Let YAML of --include-path run Python (`!function`).")
    skip_missing_data: bool = option(
        False, help="Leave out tasks whose data are not available, and go on with the others."
    )
    helm: tuple[str, ...] = option(
        (),
        metavar="ENTRY|FILE.conf",
        multiple=True,
        help="HELM's run entries, such as mmlu:subject=anatomy, or a file of them; takes milepost[helm].",
        parse=_helm_entries,
        dump=list,
    )
    max_eval_instances: int | None = option(
        None, help="Instances per HELM entry at most; default: --limit, else all."
    )
    max_train_instances: int | None = option(
        None, help="Examples in HELM's prompts; default: the entry's own."
    )
    num_train_trials: int | None = option(
        None, help="How often HELM draws other examples and asks again; default: the entry's own."
    )
    helm_data: Path | None = option(
        None,
        metavar="DIR",
        help="HELM's output folder, whose scenarios/ holds their data; default: benchmark_output.",
    )

    def __post_init__(self) -> None:
        if not self.names and not self.helm:
            raise MilepostError(
                "no tasks given",
                "name some with --tasks, for example --tasks arc_easy,piqa, or --suite early",
            )
        self._check_helm()
        if self.limit is not None and not (self.limit > 0):
            raise MilepostError(
                Phrase("--limit {limit:g} selects no docs", limit=self.limit),
                "pass a count of 1 or more, or a share such as 0.1",
            )
        if self.limit is not None and self.limit >= 1 and not float(self.limit).is_integer():
            raise MilepostError(
                Phrase("--limit {limit:g} is not a whole number of docs", limit=self.limit),
                "pass 10, or a share such as 0.1",
            )
        if self.limit is not None and self.samples is not None:
            raise MilepostError("--limit and --samples exclude each other", "pass one of them")
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise MilepostError(
                Phrase("--num-fewshot {num_fewshot} is negative", num_fewshot=self.num_fewshot),
                "pass 0 or more",
            )

    def _check_helm(self) -> None:
        for name in HELM_COUNTS:
            given, least = getattr(self, name), 0 if name == "max_train_instances" else 1
            flag = "--" + name.replace("_", "-")
            if given is not None and not self.helm:
                raise MilepostError(
                    Phrase("{flag} is for HELM's entries", flag=flag),
                    "name some with --helm, or leave it out",
                )
            if given is not None and given < least:
                raise MilepostError(
                    Phrase("{flag} {given} is too small", flag=flag, given=given),
                    Phrase("pass {least} or more", least=least),
                )
        if self.helm and self.max_eval_instances is None and self.limit is not None and self.limit < 1:
            raise MilepostError(
                Phrase(
                    "--limit {limit:g} is a share, and HELM takes a number of instances", limit=self.limit
                ),
                "pass --max-eval-instances N as well",
            )

    @property
    def helm_instances(self) -> int | None:
        """Instances per HELM entry at most; None for all."""
        if self.max_eval_instances is None and self.limit is not None:
            return int(self.limit)
        return self.max_eval_instances

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> TaskSettings:
        """Read the settings in a plan's record (`asked`)."""
        lists = {
            name: tuple((task, tuple(value) if name == "samples" else value) for task, value in plain[name])
            for name in ("shots", "samples", "metadata")
            if plain.get(name) is not None
        }
        paths = {
            name: Path(plain[name]) for name in ("include_path", "helm_data") if plain.get(name) is not None
        }
        return cls(
            **{
                **plain,
                **lists,
                **paths,
                "names": tuple(plain["names"]),
                "helm": tuple(plain.get("helm", ())),
                "seeds": Seeds(**plain["seeds"]),
            }
        )

    @property
    def trusts_task_files(self) -> bool:
        """Return whether all task files may run Python; those of `include_path` need a permission."""
        return self.include_path is None or self.allow_task_code

    def num_fewshot_of(self, task: str) -> int | None:
        """Return the number of examples in the prompts of `task`; None for the task's own number."""
        return dict(self.shots).get(task) if self.num_fewshot is None else self.num_fewshot

    @property
    def multiturn(self) -> bool:
        if self.fewshot_as_multiturn is None:
            return bool(self.apply_chat_template)
        return self.fewshot_as_multiturn

    def samples_of(self, task: str) -> list[int] | None:
        """Return the doc ids of `task` to evaluate, ascending; None for all."""
        return next((sorted(set(ids)) for name, ids in self.samples or () if name == task), None)
