"""Build the requests of lm_eval's tasks, as strings, with the hashes that lm_eval's result files carry.

lm_eval's `build_all_requests` decides the order of docs, draws few-shot examples and renders the strings.
Source: lm_eval/evaluator.py `evaluate`, lm_eval/api/task.py `build_all_requests`.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lm_eval.api.task
from lm_eval.evaluator_utils import get_sample_size
from lm_eval.utils import handle_non_serializable, hash_string

from milepost.errors import TaskError
from milepost.tasks.lm_eval.choices import offer, offers_choices
from milepost.tasks.lm_eval.faults import blaming_the_task, fields_hint
from milepost.tasks.lm_eval.generation import parse_gen_kwargs, read_generation
from milepost.tasks.lm_eval.loading import LoadedTasks
from milepost.tasks.lm_eval.shortcuts import compiled_templates
from milepost.tasks.question_source import ChatTemplate, DocRecord, TaskRequests
from milepost.tasks.settings import TaskSettings
from milepost.text.language import Phrase
from milepost.types.choices import Offer
from milepost.types.generation import Generation
from milepost.types.requests import Request, Windows

logger = logging.getLogger("milepost.tasks")

FEW_DOCS = 3


def build_requests(
    loaded: LoadedTasks, chat_template: ChatTemplate | None = None, *, compile_templates_once: bool = True
) -> Iterator[TaskRequests]:
    """Yield the requests of each task in turn; lm_eval's instances are dropped after each, to save memory.

    Raises:
        TaskError: the task has fewer few-shot examples than wanted, no docs, or wrong generation settings.
    """
    for name, task in loaded.tasks.items():
        is_own = getattr(task, "is_own", False)
        # The context ends before `yield`, so that it does not cover the code of the caller.
        with (
            compiled_templates(loaded.settings, enabled=compile_templates_once),
            blaming_the_task(name, task, is_own=is_own),
        ):
            requests = _requests_of(task, name, loaded.settings, chat_template)
        _check_labels(task, requests, is_own)
        yield requests


def _requests_of(
    task: lm_eval.api.task.Task, name: str, settings: TaskSettings, chat_template: ChatTemplate | None
) -> TaskRequests:
    with _enough_examples(task, name):
        task.build_all_requests(
            limit=get_sample_size(task, settings.limit),
            samples=settings.samples_of(name),
            system_instruction=settings.system_instruction,
            apply_chat_template=bool(settings.apply_chat_template),
            fewshot_as_multiturn=settings.multiturn,
            chat_template=chat_template if settings.apply_chat_template else None,
        )
    instances = task.instances
    task._instances = None
    ids = settings.samples_of(name)
    generations = _Generations(name, settings)
    return TaskRequests(
        name,
        [_request(instance, ids, generations, getattr(task, "windows", None)) for instance in instances],
        [_doc_record(task, group, ids) for group in by_doc(instances)],
        _offers(task, instances, ids),
    )


def _check_labels(task: lm_eval.api.task.Task, requests: TaskRequests, is_own: bool) -> None:
    """Refuse a task in which no doc has a right choice: lm_eval would count every answer as wrong.

    Raises:
        TaskError: the message names the key that gives the right choice, and the fields of the docs.
    """
    offers = requests.offers or []
    unlabelled = [doc.doc_id for doc in offers if not doc.right]
    if 0 < len(unlabelled) < len(offers):
        logger.warning(
            "%s: the labels of %d of %d docs are not among their choices (the first is doc %d); every answer"
            " to these counts as wrong",
            requests.task, len(unlabelled), len(offers), unlabelled[0],
        )  # fmt: skip
    if not is_own or not offers or len(unlabelled) < len(offers):
        return
    key = "doc_to_text" if task.multiple_input else "doc_to_target"
    label, first = task.get_config(key), offers[0]
    is_plain = isinstance(label, str) and "{" not in label and label not in task.features
    if len(offers) < FEW_DOCS and not is_plain:
        return  # with --limit 1 it may be only this doc
    target = next((doc.target for doc in requests.docs if doc.doc_id == first.doc_id), "")
    shown = target if key == "doc_to_target" else "the text"
    raise TaskError(
        Phrase(
            "task {task}: {key} ({label!r}) does not name the right choice of any doc: "
            "for doc {doc_id} it gives {shown!r}, the choices are {texts}",
            task=requests.task,
            key=key,
            label=str(label)[:60],
            doc_id=first.doc_id,
            shown=str(shown)[:60],
            texts=str(list(first.texts))[:120],
        ),
        Phrase(
            "{key} gives the number of the right choice, from 0, or its text; {hint}",
            key=key,
            hint=fields_hint(str(label), sorted(task.features)),
        ),
    )


@contextmanager
def _enough_examples(task: lm_eval.api.task.Task, name: str) -> Iterator[None]:
    try:
        yield
    except (AssertionError, ValueError) as error:
        if "few" in str(error).lower() or "Sample larger than population" in str(error):
            shots = task.get_config("num_fewshot")
            raise TaskError(
                Phrase("{name} has too few examples for {shots}-shot", name=name, shots=shots),
                "pass a smaller --num-fewshot",
            ) from error
        if "did not find any docs" in str(error):
            raise TaskError(
                Phrase("{name} has no docs to evaluate", name=name), "pass a larger --limit"
            ) from error
        raise


def _offers(
    task: lm_eval.api.task.Task, instances: list[Any], samples: list[int] | None
) -> list[Offer] | None:
    if not offers_choices(task):
        return None
    docs = [group[0] for group in by_doc(instances)]
    return [offer(task, first.doc, true_doc_id(first.doc_id, samples)) for first in docs]


def by_doc(instances: list[Any]) -> list[list[Any]]:
    """Group instances by doc, in order, each group ordered by `idx`, as lm_eval does."""
    groups: dict[int, list[Any]] = {}
    for instance in instances:
        groups.setdefault(instance.doc_id, []).append(instance)
    return [sorted(group, key=lambda instance: instance.idx) for group in groups.values()]


def true_doc_id(doc_id: int, samples: list[int] | None) -> int:
    """Return a doc's position in the split; lm_eval numbers the docs of `--samples` from 0."""
    return samples[doc_id] if samples is not None else doc_id


class _Generations:
    """Generation settings of a task's requests; each distinct setting is read, and warned of, once."""

    def __init__(self, task: str, settings: TaskSettings) -> None:
        self._task = task
        self._seed = settings.seeds.torch
        self._overrides = parse_gen_kwargs(settings.gen_kwargs) if settings.gen_kwargs else {}
        self._read: dict[str, Generation] = {}

    def of(self, instance: Any) -> Generation:
        # `--gen-kwargs` also overrides the settings of tasks whose code fixes them.
        gen_kwargs = {**instance.args[1], **self._overrides}
        key = json.dumps([gen_kwargs, instance.repeats], sort_keys=True, default=str)
        if key not in self._read:
            self._read[key] = read_generation(self._task, gen_kwargs, instance.repeats or 1, self._seed)
        return self._read[key]


def _request(
    instance: Any, samples: list[int] | None, generations: _Generations, windows: Windows | None
) -> Request:
    doc_id = true_doc_id(instance.doc_id, samples)
    if instance.request_type == "generate_until":
        return Request("generate_until", doc_id, instance.idx, instance.args[0], "", generations.of(instance))
    if instance.request_type == "loglikelihood_rolling":
        return Request("loglikelihood_rolling", doc_id, instance.idx, "", instance.args[0], windows=windows)
    return Request("loglikelihood", doc_id, instance.idx, instance.args[0], instance.args[1])


def doc_hash(doc: Any) -> str:
    """Return lm_eval's hash of a doc (lm_eval/evaluator.py, `doc_hash`)."""
    text = json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    hashed: str = hash_string(text)
    return hashed


def _doc_record(task: lm_eval.api.task.Task, instances: list[Any], samples: list[int] | None) -> DocRecord:
    first = instances[0]
    dump = functools.partial(json.dumps, default=handle_non_serializable, ensure_ascii=False)
    target = task.doc_to_target(first.doc)
    return DocRecord(
        doc_id=true_doc_id(first.doc_id, samples),
        doc=dump(first.doc),
        target=str(target),
        arguments=dump([list(instance.args) for instance in instances]),
        doc_hash=doc_hash(first.doc),
        prompt_hash=hash_string(first.arguments[0]),
        target_hash=hash_string(str(target)),
    )
