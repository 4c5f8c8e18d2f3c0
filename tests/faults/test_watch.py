"""Watching real processes that train and save: killed and started again, nothing early, nothing twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import milepost
from tests.cli.called import milepost as milepost_cli
from tests.faults.slow_copy import SLOW_COPY
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.slow

TRAINER = """
import sys, time
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments
from transformers import default_data_collator

class Pause(TrainerCallback):
    def on_save(self, *_, **__):
        time.sleep(1.5)

start, out = sys.argv[1:]
model, tokenizer = AutoModelForCausalLM.from_pretrained(start), AutoTokenizer.from_pretrained(start)
ids = tokenizer("the cat sat on the mat and the dog ran after it")["input_ids"]
arguments = TrainingArguments(
    out, max_steps=8, save_steps=2, learning_rate=1e-3, per_device_train_batch_size=2, report_to="none",
    disable_tqdm=True, use_cpu=True,
)
data = [{"input_ids": ids, "labels": ids}] * 16
Trainer(
    model, arguments, train_dataset=data, data_collator=default_data_collator, processing_class=tokenizer,
    callbacks=[Pause()],
).train()
"""


def watch_through_two_kills(
    zygote: Zygote, arguments: list[str | Path], results: Path, log: Path, saving: subprocess.Popen[bytes]
) -> str:
    """Start a watch, kill it once it has scored something, twice over; what the last one said."""
    for _ in range(2):
        scored = len(_visits(results))
        child = zygote.start(*arguments, log=log)
        while len(_visits(results)) == scored and not child.has_ended():
            assert not saving.poll(), "the process that saves has failed"
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    last = log.with_suffix(".last")
    assert zygote.run(*arguments, log=last) == 0, last.read_text()
    return last.read_text()


def check_once_and_whole(results: Path, source: Path, names: set[str]) -> None:
    """Each checkpoint has the figures of what it is now, and no shard was scored twice."""
    assert _visits(results).keys() == names
    n_models = len({record["model_id"] for record in _visits(results).values()})
    assert len(list((results / "store" / "scores").iterdir())) == n_models == len(names)
    for name in names:
        log = (results / name / source.name / "evaluation.log").read_text()
        assert "cannot be" not in log
        shards = [int(count) for count in re.findall(r" (\d+) shards scored", log)]
        assert sum(shards) <= _n_shards(results)
    measured = {row.checkpoint for row in milepost.Results.open(results).rows()}
    assert measured == names


def test_a_trainer_is_followed_from_before_its_first_save_to_its_last(
    zygote: Zygote, tiny_llama: Path, questions: Path, tmp_path: Path
) -> None:
    run, results, log = tmp_path / "run", tmp_path / "results", tmp_path / "log"
    told = tmp_path / "told"
    arguments: list[str | Path] = [
        "watch", run, "-t", "where,who", "--include-path", questions, "-o", results, "--engine", "padded",
        "--until", "8", "--settle", "1s", "--every", "2s", "--exec", f"echo $MILEPOST_CHECKPOINT >> {told}",
    ]  # fmt: skip
    trainer = subprocess.Popen([sys.executable, "-c", TRAINER, tiny_llama, run], stderr=subprocess.PIPE)
    try:
        said = watch_through_two_kills(zygote, arguments, results, log, trainer)
    finally:
        trainer.kill()
        _, errors = trainer.communicate()
    names = {f"checkpoint-{step}" for step in (2, 4, 6, 8)}
    assert (run / "checkpoint-8").is_dir(), errors.decode()[-2000:]
    check_once_and_whole(results, run, names)
    assert Counter(told.read_text().split()).keys() == names
    assert "8: scored" in said or "8: was scored already" in said


def test_a_megatron_run_is_followed_by_its_tracker(
    zygote: Zygote, shared: Path, words: Path, questions: Path, tmp_path: Path
) -> None:
    source = shared / "checkpoints" / "megatron" / "gpt2_legacy_tp2"
    run, results, log = tmp_path / "run", tmp_path / "results", tmp_path / "log"
    arguments: list[str | Path] = [
        "watch", run, "-t", "where", "--include-path", questions, "-o", results, "--engine", "padded",
        "--tokenizer", words, "--until", "60", "--settle", "1s", "--every", "1s",
    ]  # fmt: skip
    writer = subprocess.Popen([sys.executable, "-c", SLOW_COPY, source, run])
    try:
        said = watch_through_two_kills(zygote, arguments, results, log, writer)
    finally:
        writer.kill()
        writer.wait()
    check_once_and_whole(results, run, {f"iter_00000{step}" for step in (20, 40, 60)})
    assert "cannot be used" not in said + log.read_text()


def test_the_whole_story_from_a_megatron_run_to_a_leaderboard(
    hub: str, zygote: Zygote, shared: Path, words: Path, tmp_path: Path
) -> None:
    """The commands of docs/watch.md, on real tasks: watch, record in trackio, rank beside others."""
    run, results, log = tmp_path / "run", tmp_path / "results", tmp_path / "log"
    writer = subprocess.Popen(
        [sys.executable, "-c", SLOW_COPY, shared / "checkpoints" / "megatron" / "gpt2_legacy_tp2", run]
    )
    watched = zygote.run(
        "watch", run, "-t", "mmlu_anatomy,boolq,hellaswag", "-L", "4", "--tokenizer", words, "--until", "60",
        "--settle", "1s", "--every", "1s", "--record", "trackio", "--record-project", tmp_path.name,
        "--plot", tmp_path / "curve.png", "-o", results, log=log,
    )  # fmt: skip
    writer.wait()
    assert watched == 0, log.read_text()
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    assert "trackio: recording to" in log.read_text()
    recorded = list((results / "store" / "recorded").glob("trackio/*.json"))
    assert len(recorded) == 1
    published = tmp_path / "published.yaml"
    published.write_text("Published-135M:\n  boolq: 0.61\n  hellaswag: {acc: 0.42}\n")
    board = milepost_cli("leaderboard", results, "--baselines", published, "--json")
    assert board.status == 0, board.err
    names = {one["name"]: one for one in json.loads(board.out)["models"]}
    assert names.keys() == {"run", "Published-135M"}
    assert names["run"]["step"] == 60
    assert set(names["run"]["scores"]) == {"mmlu_anatomy.acc", "boolq.acc", "hellaswag.acc"}


def _visits(results: Path) -> dict[str, dict[str, str]]:
    """Checkpoints that have figures, with their records."""
    from milepost.store.atomic_files import read_json

    found = {}
    for path in (results / "store" / "checkpoints").glob("*/*.json"):
        record = read_json(path)
        metrics = (results / "store" / "metrics").glob(f"*/{record.get('model_id')}-*.json")
        if any(metrics):
            found[record["checkpoint"]] = record
    return found


def _n_shards(results: Path) -> int:
    from milepost.store.atomic_files import read_json

    (plan,) = [path for path in (results / "store" / "plans").glob("*.json") if ".lm_eval" not in path.name]
    return sum(len(task["shards"]) for task in read_json(plan)["tasks"])
