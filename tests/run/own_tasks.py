"""Tasks of our own, small enough to be scored in no time: two of multiple choice, one of perplexity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ANIMALS = ("cat", "dog", "rat", "hen", "cow", "pig", "fox", "owl")
PLACES = ("mat", "log", "hill", "roof")


def write_tasks(folder: Path) -> Path:
    """`where` and `who` (group `farm`, tag `animals`), and `prose`; found by --include-path."""
    docs = [
        {"animal": animal, "places": list(PLACES), "place": number % len(PLACES)}
        for number, animal in enumerate(ANIMALS)
    ]
    choice = {"output_type": "multiple_choice", "tag": "animals", "doc_to_target": "{{place}}"}
    write_task(folder, "where", docs, choice | {"doc_to_text": "the {{animal}} sat on the"} | _choices())
    write_task(folder, "who", docs, choice | {"doc_to_text": "after the {{animal}} ran a"} | _choices())
    texts = [
        {"text": f"the {animal} sat on the mat and the dog ran after it. " * 3} for animal in ANIMALS[:3]
    ]
    rolling = {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    }
    write_task(folder, "prose", texts, rolling)
    group = {
        "group": "farm",
        "task": ["where", "who"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
    }
    (folder / "farm.yaml").write_text(yaml.safe_dump(group))
    return folder


def write_task(folder: Path, name: str, docs: list[dict[str, Any]], config: dict[str, Any]) -> Path:
    """One task and its data; few-shot examples come from the same docs."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    source = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "fewshot_split": "test",
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(source | config, sort_keys=False))
    return path


def _choices() -> dict[str, Any]:
    metric = {"aggregation": "mean", "higher_is_better": True}
    return {
        "doc_to_choice": "{{places}}",
        "metric_list": [{"metric": "acc", **metric}, {"metric": "acc_norm", **metric}],
    }
