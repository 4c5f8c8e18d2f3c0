"""Runs in trainers' own formats: the figures of the same weights as safetensors; what is hostile or broken is
named, runs no code, and costs the others nothing."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.filesystem import FileSystemReader
from transformers import AutoModelForCausalLM

import milepost
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_tasks
from tests.weights.hostile import Command, assert_armed, bomb

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]

BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json")
PIECES = "__0_0.distcp"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def dcp_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of `tiny_run` as DCP, nested, with an optimizer: step-10, -20, -30; config in the run."""
    run = tmp_path_factory.mktemp("dcp") / "run"
    for step in (10, 20, 30):
        tensors = load_file(tiny_run / f"checkpoint-{step}/model.safetensors")
        moments = {name: {"exp_avg": torch.zeros_like(tensor)} for name, tensor in tensors.items()}
        state = {"app": {"model": tensors, "optim": {"state": moments}}, "step": step}
        dcp.save(state, checkpoint_id=run / f"step-{step}", no_dist=True)
    for name in BESIDE:
        shutil.copy(tiny_run / "checkpoint-10" / name, run)
    return run


def figures(path: Path) -> dict[tuple[int | None, str, str], float | None]:
    return {(row.step, row.task, row.metric): row.value for row in milepost.Results.open(path).rows()}


def run_on(source: object, tasks: Path, out: Path, *options: object) -> tuple[int, dict[str, str], str]:
    """Exit status, the reason of each checkpoint that failed, and what was said."""
    called = call("run", source, "-t", "where,who", "--include-path", tasks, "-o", out, *options)
    failed = dict(re.findall(r"^failed: [^/\n]*/([^:\n]*): (.*)$", called.err, re.MULTILINE))
    return called.status, failed, called.err


def test_figures_are_those_of_the_same_weights_as_safetensors(
    tiny_run: Path, dcp_run: Path, tasks: Any, tmp_path: Path
) -> None:
    assert run_on(tiny_run, tasks, tmp_path / "a")[0] == 0
    assert run_on(dcp_run, tasks, tmp_path / "b")[0] == 0
    assert figures(tmp_path / "a") == figures(tmp_path / "b")
    assert "0 scored" not in run_on(dcp_run, tasks, tmp_path / "b")[2]


def code_in_metadata(folder: Path, mark: Path) -> None:
    (folder / ".metadata").write_bytes(bomb(mark))


def code_deep_in_metadata(folder: Path, mark: Path) -> None:
    metadata = FileSystemReader(folder).read_metadata()
    metadata.planner_data = {"x": Command(mark)}
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def code_for_a_tensor(folder: Path, mark: Path) -> None:
    other = folder.with_name("other")
    dcp.save({"w": Command(mark)}, checkpoint_id=other, no_dist=True)
    entry = (other / PIECES).read_bytes()
    shutil.rmtree(other)
    metadata = FileSystemReader(folder).read_metadata()
    for index, place in metadata.storage_data.items():
        if index.fqn.endswith("model.norm.weight") and "optim" not in index.fqn:
            place.offset, place.length = (folder / PIECES).stat().st_size, len(entry)
    with (folder / PIECES).open("ab") as file:
        file.write(entry)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def cut_short(folder: Path, mark: Path) -> None:
    (folder / PIECES).write_bytes((folder / PIECES).read_bytes()[:-1000])


def without_a_rank(folder: Path, mark: Path) -> None:
    (folder / PIECES).unlink()


def zeros(folder: Path, mark: Path) -> None:
    (folder / PIECES).write_bytes(bytes((folder / PIECES).stat().st_size))


def half_written(folder: Path, mark: Path) -> None:
    (folder / ".metadata").rename(folder / ".metadata.tmp")


def with_a_config_of_another_shape(folder: Path, mark: Path) -> None:
    config = json.loads((folder.parent / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))


def with_another_shape_in_metadata(folder: Path, mark: Path) -> None:
    metadata = FileSystemReader(folder).read_metadata()
    entry = metadata.state_dict_metadata["app.model.model.norm.weight"]
    entry.size = torch.Size([entry.size[0] + 1])
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def pointing_outside(folder: Path, mark: Path) -> None:
    metadata = FileSystemReader(folder).read_metadata()
    for place in metadata.storage_data.values():
        place.relative_path = f"../step-10/{PIECES}"
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def a_link_outside(folder: Path, mark: Path) -> None:
    shutil.move(folder / PIECES, folder.parents[1] / "elsewhere")
    (folder / PIECES).symlink_to(folder.parents[1] / "elsewhere")


BROKEN: dict[Callable[[Path, Path], None], str] = {
    code_in_metadata: r"\.metadata asks to run code \(posix\.system\)",
    code_deep_in_metadata: r"\.metadata asks to run code \(posix\.system\)",
    code_for_a_tensor: rf"{PIECES} cannot be read: it asks to run code or is damaged",
    cut_short: rf"{PIECES} is cut short",
    without_a_rank: rf"missing: {PIECES}|there are no \.distcp files",
    zeros: rf"{PIECES} cannot be read",
    half_written: r"\.metadata is missing, or not yet written",
    with_a_config_of_another_shape: r"it differs in intermediate_size",
    with_another_shape_in_metadata: r"the pieces of app\.model\.model\.norm\.weight leave a gap",
    pointing_outside: r"lies outside the folder: \.\./step-10/",
    a_link_outside: rf"{PIECES} is a link out of the folder",
}


def test_eleven_broken_or_hostile_checkpoints_are_named_and_the_others_scored(
    dcp_run: Path, tasks: Any, tmp_path: Path
) -> None:
    run, mark = Path(shutil.copytree(dcp_run, tmp_path / "run")), tmp_path / "mark"
    assert_armed(bomb(mark), mark)
    for number, damage in enumerate(BROKEN, 40):
        folder = Path(shutil.copytree(dcp_run / "step-30", run / f"step-{number}"))
        damage(folder, mark)
    (run / "latest_checkpointed_iteration.txt").write_text("99")
    mark.unlink(missing_ok=True)  # making them must not count as running

    status, failed, said = run_on(run, tasks, tmp_path / "out")

    assert status == 1
    assert not mark.exists()
    assert "Traceback" not in said
    assert set(failed) == {f"step-{40 + n}" for n in range(len(BROKEN))} | {"iter_0000099"}
    for number, words in enumerate(BROKEN.values(), 40):
        assert re.search(words, failed[f"step-{number}"]), (number, failed[f"step-{number}"])
    assert "there is no such folder" in failed["iter_0000099"]
    assert {step for step, _, _ in figures(tmp_path / "out")} == {10, 20, 30}


def test_list_tells_format_size_and_what_is_missing(dcp_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(dcp_run, tmp_path / "run"))
    half_written(run / "step-30", tmp_path)
    rows = json.loads(call("list", run, "--json").out)
    assert [(row["step"], row["format"], row["complete"]) for row in rows] == [
        (10, "dcp", True),
        (20, "dcp", True),
        (30, "dcp", False),
    ]
    assert all(row["size_bytes"] > 100_000 for row in rows)


def test_a_config_can_be_given(dcp_run: Path, tasks: Any, tmp_path: Path) -> None:
    run = Path(shutil.copytree(dcp_run, tmp_path / "run"))
    config = (run / "config.json").rename(tmp_path / "mine.json")
    out = tmp_path / "out"
    refused = call("run", run, "-t", "where", "--include-path", tasks, "-o", out)
    assert refused.status == 2
    assert "--config" in refused.err
    assert not out.exists()
    assert run_on(run, tasks, out, "--config", config)[0] == 0
    assert len({step for step, _, _ in figures(out)}) == 3


@pytest.mark.parametrize("text", [None, "", "{", '{"model_type": "llama"}'])
def test_a_given_config_that_is_of_no_use_is_refused_and_nothing_written(
    dcp_run: Path, tasks: Any, tmp_path: Path, text: str
) -> None:
    config = tmp_path / "mine.json"
    if text is not None:
        config.write_text(text)
    arguments = ["-t", "where", "--include-path", tasks, "-o", tmp_path / "out", "--config", config]
    called = call("run", dcp_run, *arguments)
    assert "Traceback" not in called.err
    if text == '{"model_type": "llama"}':  # a config, though not of this model
        assert called.status == 1
        assert "has 20 tensors, its config 32 layers" in called.err
        return
    assert called.status == 2
    assert "mine.json" in called.err
    assert not (tmp_path / "out").exists()


# ---- adapters, and all of it on the Hub ---------------------------------------------------------------


def write_adapter(base: Path, folder: Path, seed: int, named: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings = LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, target_modules=["q_proj", "up_proj"])
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    model.peft_config["default"].base_model_name_or_path = named
    model.save_pretrained(folder)


def test_adapters_are_scored_as_their_merged_models(tiny_llama: Path, tasks: Any, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    for step in (1, 2):
        write_adapter(base, tmp_path / f"run/checkpoint-{step}", step, "../base")
        merged = merged_by_peft(base, tmp_path / f"run/checkpoint-{step}")
        merged.save_pretrained(tmp_path / f"merged/checkpoint-{step}")
        for name in BESIDE[1:]:
            shutil.copy(base / name, tmp_path / f"merged/checkpoint-{step}")
    assert run_on(tmp_path / "run", tasks, tmp_path / "a")[0] == 0
    assert run_on(tmp_path / "merged", tasks, tmp_path / "b")[0] == 0
    adapters, merged = figures(tmp_path / "a"), figures(tmp_path / "b")
    assert adapters.keys() == merged.keys()
    assert [adapters[key] for key in adapters] == pytest.approx([merged[key] for key in adapters], abs=1e-6)
    assert len({value for (_, task, _), value in adapters.items()}) > 1


def merged_by_peft(base: Path, adapter: Path) -> Any:
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).merge_and_unload()


@pytest.mark.hub
def test_any_format_is_read_from_a_subfolder_or_revision_of_the_hub(
    shared: Path, tiny_llama: Path, dcp_run: Path, tasks: Any, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    root = models / "own/run/main/runs"
    shutil.copytree(dcp_run, root / "dcp")
    shutil.copytree(tiny_llama, models / "own/base/main")
    write_adapter(tiny_llama, root / "lora/checkpoint-1", 1, "own/base")
    write_adapter(tiny_llama, root / "lora/checkpoint-2", 2, str(tiny_llama))  # a path of this machine
    shutil.copytree(shared / "checkpoints/deepspeed/zero3_bf16", root / "zero")
    for step in (10, 20):
        shutil.copytree(dcp_run / f"step-{step}", models / f"own/branches/step-{step}")
        for name in BESIDE:
            shutil.copy(dcp_run / name, models / f"own/branches/step-{step}")
    process = serve(shared, models)
    try:
        assert process.stdout is not None
        hub = {"HF_ENDPOINT": process.stdout.readline().strip(), "HF_HOME": str(tmp_path / "home")}

        rows = json.loads(cli(hub, "list", "hf://own/run/runs/zero", "--json").stdout)
        assert [(row["step"], row["format"], row["problem"]) for row in rows] == [
            (10, "deepspeed", None),
            (30, "deepspeed", None),
        ]
        rows = json.loads(cli(hub, "list", "hf://own/run/runs/lora", "--json").stdout)
        assert rows[0]["problem"] is None
        assert "its base cannot be used" in rows[1]["problem"]  # not read from this machine

        here = tmp_path / "out"
        assert run_on(dcp_run, tasks, here)[0] == 0
        asked = ["-t", "where,who", "--include-path", tasks, "-o", here]
        there = cli(hub, "run", "hf://own/run/runs/dcp", "hf://own/branches@step-*", *asked)
        assert there.returncode == 0, there.stderr
        assert "5 already scored" in there.stderr  # the same weights: one identity here and there
        lora = cli(hub, "run", "hf://own/run/runs/lora", *asked)
        assert lora.returncode == 1
        assert "1 scored, 1 failed" in lora.stderr
        ds = shared / "checkpoints/deepspeed/zero3_bf16"
        assert identities(hub, "hf://own/run/runs/zero") == identities(hub, ds)
    finally:
        process.terminate()
        process.wait()


def serve(shared: Path, models: Path) -> subprocess.Popen[str]:
    command = [sys.executable, shared / "hub/serve.py", "--root", shared / "hub", "--port", "0"]
    return subprocess.Popen([*map(str, command), "--models", str(models)], stdout=subprocess.PIPE, text=True)


def cli(hub: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """`milepost` in a process of its own: huggingface_hub reads its settings when it is imported."""
    return python(hub, "-m", "milepost", *arguments)


def identities(hub: dict[str, str], source: object) -> list[str]:
    code = (
        "import sys\n"
        "from milepost.files.cache import cache_folder\n"
        "from milepost.sources import discover, identify\n"
        "for one in discover(sys.argv[1]).checkpoints: print(identify(one, cache_folder()).model_id)\n"
    )
    done = python(hub, "-c", code, source)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def python(hub: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | hub,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
