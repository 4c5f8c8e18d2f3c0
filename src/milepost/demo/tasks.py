"""Write the questions as lm_eval tasks: YAML files and their data, found by `--include-path`.

Four of them. `world` is a group with a task per subject: a question, and four answers scored as text (as ARC
does). `world_cloze` asks the same, and more, as unfinished sentences. `world_letters` lists the answers and
scores their letters (as MMLU does), which the model has never seen done. `world_text` is perplexity on
sentences that were not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from milepost.demo.lessons import Lessons, Question, question_text
from milepost.demo.words import SUBJECTS

TASKS = ("world", "world_cloze", "world_letters", "world_text")
LETTERS = ("A", "B", "C", "D")
VERSION = 1.0


def write_tasks(lessons: Lessons, folder: Path) -> None:
    """Write all tasks into `folder`; a file that says the same already is left alone.

    The data files are named by their absolute paths, as datasets resolves others against the working folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_group("world", "questions", lessons.questions, question_text("{{question}}"), folder)
    _write_group("world_cloze", "cloze", lessons.unfinished, "{{unfinished}}", folder)
    choices = "\n".join(f"{letter}. {{{{choices[{place}]}}}}" for place, letter in enumerate(LETTERS))
    _write_task(
        "world_letters",
        _multiple_choice(
            alias="letters",
            text=f"Question: {{{{question}}}}\n{choices}\nAnswer:",
            choices=list(LETTERS),
            metrics=("acc",),
        ),
        map(_as_doc, lessons.questions),
        folder,
    )
    _write_task("world_text", _perplexity(), ({"text": text} for text in lessons.unread_texts), folder)


def _write_group(group: str, alias: str, questions: Sequence[Question], text: str, folder: Path) -> None:
    """Write a group with a task per subject."""
    metrics = ("acc", "acc_norm")
    for subject in SUBJECTS:
        docs = (_as_doc(question) for question in questions if question.subject == subject)
        config = _multiple_choice(alias=subject, text=text, choices="{{choices}}", metrics=metrics)
        _write_task(f"{group}_{subject}", config, docs, folder)
    config = {
        "group": group,
        "group_alias": alias,
        "task": [f"{group}_{subject}" for subject in SUBJECTS],
        "aggregate_metric_list": [{"metric": metric, "weight_by_size": True} for metric in metrics],
        "metadata": {"version": VERSION},
    }
    _write(folder / f"{group}.yaml", _as_yaml(config))


def _write_task(name: str, config: dict[str, Any], docs: Iterable[dict[str, Any]], folder: Path) -> None:
    data = folder / f"{name}.jsonl"
    _write(data, "".join(json.dumps(doc) + "\n" for doc in docs))
    source = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": _named(data.resolve())}},
        "test_split": "test",
    }
    _write(folder / f"{name}.yaml", _as_yaml({**source, **config}))


def _named(path: Path) -> str:
    """Return a path from the folder we are in, where it lies in it: the folder can then be moved."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def _multiple_choice(
    *, alias: str, text: str, choices: str | list[str], metrics: Sequence[str]
) -> dict[str, Any]:
    return {
        "task_alias": alias,
        "output_type": "multiple_choice",
        "doc_to_text": text,
        "doc_to_choice": choices,
        "doc_to_target": "{{answer}}",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in metrics
        ],
        "metadata": {"version": VERSION},
    }


def _perplexity() -> dict[str, Any]:
    return {
        "task_alias": "text",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [
            {"metric": metric, "aggregation": aggregation, "higher_is_better": False}
            for metric, aggregation in (
                ("word_perplexity", "weighted_perplexity"),
                ("byte_perplexity", "weighted_perplexity"),
                ("bits_per_byte", "bits_per_byte"),
            )
        ],
        "metadata": {"version": VERSION},
    }


def _as_doc(question: Question) -> dict[str, Any]:
    return {
        "question": question.question,
        "unfinished": question.unfinished,
        "choices": list(question.choices),
        "answer": question.answer,
    }


def _as_yaml(config: dict[str, Any]) -> str:
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110))


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
