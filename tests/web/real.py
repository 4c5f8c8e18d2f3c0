"""Real runs for the tests of pages: three checkpoints of a tiny Llama on tasks of our own."""

from __future__ import annotations

from pathlib import Path

import milepost
from tests.run.own_tasks import ANIMALS, PLACES, write_task, write_tasks


def run_tiny(tiny_run: Path, folder: Path) -> Path:
    """Score three checkpoints on two multiple-choice tasks and a text; return the results folder."""
    tasks = write_tasks(folder / "tasks")
    results = folder / "results"
    milepost.evaluate(tiny_run, "farm,prose", output_path=results, include_path=tasks, engine="padded")
    return results


def run_texts(tiny_run: Path, folder: Path) -> Path:
    """Have three checkpoints write texts (`tell`) and score single continuations (`next`)."""
    docs = [{"text": f"the {animal} sat on the", "place": PLACES[i % 4]} for i, animal in enumerate(ANIMALS)]
    higher = {"aggregation": "mean", "higher_is_better": True}
    asked = {"doc_to_text": "{{text}}"}
    tell = {
        "output_type": "generate_until",
        "doc_to_target": "{{place}}",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 2, "do_sample": False},
        "metric_list": [{"metric": "exact_match", **higher}],
    }
    follow = {
        "output_type": "loglikelihood",
        "doc_to_target": " {{place}}",
        "metric_list": [{"metric": "acc", **higher}],
    }
    write_task(folder / "tasks", "tell", docs, asked | tell)
    write_task(folder / "tasks", "next", docs, asked | follow)
    results = folder / "results"
    milepost.evaluate(
        tiny_run, "tell,next", output_path=results, include_path=folder / "tasks", engine="padded"
    )
    return results
