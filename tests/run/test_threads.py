"""Whole models and adapters in one run: only the main thread touches what transformers keeps globally."""

from __future__ import annotations

import json
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel, initialization, modeling_utils

import milepost
from milepost.weights import LiveModel, read_checkpoint, read_config
from milepost.weights.meta_model import expected_tensors
from tests.run.own_tasks import write_tasks

N_LOOPS = 4


@pytest.fixture(scope="module")
def mixed(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run of whole models in bfloat16, and one of adapters in float32 over another model."""
    home = tmp_path_factory.mktemp("mixed")
    whole = Path(shutil.copytree(tiny_run, home / "whole"))
    for folder in whole.iterdir():
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    base = tiny_run / "checkpoint-10"
    for step in (1, 2):
        settings = LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, target_modules=["q_proj", "embed_tokens"])
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter.add_(0.1 * torch.randn_like(parameter))
            model.save_pretrained(home / f"adapters/checkpoint-{step}")
        path = home / f"adapters/checkpoint-{step}/adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(base)}))
    return [whole, home / "adapters"]


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., dict[tuple[str, str], float | None]]:
    tasks = write_tasks(tmp_path / "tasks")

    def called(sources: Any, out: str) -> dict[tuple[str, str], float | None]:
        results = milepost.evaluate(
            sources, "prose", include_path=tasks, output_path=tmp_path / out, verbosity="ERROR"
        )
        assert not results.failures
        return {(row.checkpoint, row.metric): row.value for row in results.rows()}

    return called


@contextmanager
def touching_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names of the threads that set the default dtype, fork the RNG or make a module."""
    found: set[str] = set()

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **named: Any) -> Any:
            found.add(threading.current_thread().name)
            return call(*args, **named)

        return wrapper

    with monkeypatch.context() as patch:
        for home, name in (
            (torch, "set_default_dtype"),
            (torch.random, "fork_rng"),
            (initialization, "no_tie_weights"),
            (initialization, "no_init_weights"),
            (modeling_utils, "local_torch_dtype"),
            (PreTrainedModel, "__init__"),
            (warnings, "simplefilter"),
        ):
            patch.setattr(home, name, watched(getattr(home, name)))
        yield found


def test_only_the_main_thread_makes_modules(
    mixed: list[Path], evaluate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with touching_threads(monkeypatch) as threads:
        evaluate(mixed, "out")
    assert threads == {"MainThread"}


def test_figures_of_a_mixed_run_are_those_of_each_series_alone(
    mixed: list[Path], evaluate: Callable[..., Any]
) -> None:
    alone = evaluate(mixed[0], "whole") | evaluate(mixed[1], "adapters")
    for n in range(N_LOOPS):
        assert evaluate(mixed if n % 2 else mixed[::-1], f"out-{n}") == alone


def test_threads_that_make_modules_at_once_leave_nothing_behind(tiny_llama: Path) -> None:
    """Skeletons in the background, as of DCP checkpoints, while modules of two dtypes are made and run."""
    tokens = torch.arange(2, 26).reshape(2, 12)
    config = read_config(tiny_llama)
    expected = {}
    for dtype in ("float32", "bfloat16"):
        with torch.no_grad():
            model = LiveModel.build(read_checkpoint(tiny_llama, "safetensors"), dtype=dtype)
            expected[dtype] = model.module(tokens).logits
    done, failures = threading.Event(), []

    def background() -> None:
        while not done.is_set():
            try:
                kinds = {tensor.dtype for tensor in expected_tensors(tiny_llama, config).values()}
                assert kinds == {torch.float32}
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=background) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for n in range(4 * N_LOOPS):
            dtype = ("float32", "bfloat16")[n % 2]
            model = LiveModel.build(read_checkpoint(tiny_llama, "safetensors"), dtype=dtype)
            with torch.no_grad():
                assert torch.equal(model.module(tokens).logits, expected[dtype])
            assert torch.get_default_dtype() == torch.float32
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures
