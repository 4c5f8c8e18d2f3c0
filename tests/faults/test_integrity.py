"""One run over many damaged checkpoints: each is refused with its file named, the others are scored."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from milepost.sources import digests
from milepost.store import ResultsIndex
from tests.cli.called import Called, milepost
from tests.run.own_tasks import write_tasks

WEIGHTS = "model.safetensors"
FIRST, LAST = 10, 900
"""The steps of the sound checkpoints, before and after all others."""

Damage = Callable[[Path], object]


class Case(NamedTuple):
    damage: Damage
    named: str
    """What the message must hold: the file."""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def run(source: Path, tasks: Path, results: Path) -> Called:
    return milepost(
        "run", source, "-t", "where", "--include-path", tasks, "-o", results, "--engine", "padded"
    )


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(path: Path, position: int, bits: int = 0xFF) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


def retensor(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def sharded(folder: Path) -> dict[str, str]:
    """Split the weights in two shards; returns the index's map."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    weight_map: dict[str, Any] = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), 1):
        shard = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names}, folder / shard, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, shard)
    reindex(folder, weight_map)
    return weight_map


def reindex(folder: Path, weight_map: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def without_second_shard(folder: Path) -> None:
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def pointing_outside(folder: Path) -> None:
    weight_map = sharded(folder)
    first = min(weight_map)
    reindex(folder, weight_map | {first: f"../checkpoint-{FIRST}/model.safetensors"})


def with_sum(folder: Path, name: str) -> None:
    told = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / name).write_text(f"{told}  {WEIGHTS}\n")
    flip(folder / WEIGHTS, -5)


def linked_out(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent.parent / f"{folder.name}.elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent.parent / f"{folder.name}.elsewhere")


NORM, HEAD = "model.norm.weight", "model.embed_tokens.weight"
CASES = {
    "shard missing": Case(without_second_shard, "model-00002-of-00002.safetensors"),
    "index points outside": Case(pointing_outside, "model.safetensors.index.json"),
    "wrong shape": Case(
        lambda f: retensor(f, lambda t: t.update({NORM: torch.ones(65)})), rf"{WEIGHTS} .*{NORM}"
    ),
    "wrong dtype": Case(
        lambda f: retensor(f, lambda t: t.update({NORM: t[NORM].int()})), rf"{WEIGHTS} .*{NORM} is int32"
    ),
    "tensor missing": Case(lambda f: retensor(f, lambda t: t.pop(HEAD)), rf"{WEIGHTS} lacks .*embed_tokens"),
    "tensor left over": Case(
        lambda f: retensor(f, lambda t: t.update({"lm_head.bias": torch.ones(2)})),
        rf"{WEIGHTS} .*does not know: lm_head.bias",
    ),
    "empty file": Case(lambda f: (f / WEIGHTS).write_bytes(b""), f"{WEIGHTS} is empty"),
    "folder for weights": Case(lambda f: replaced_by_folder(f / WEIGHTS), f"{WEIGHTS} is a folder"),
    "folder for config": Case(lambda f: replaced_by_folder(f / "config.json"), "config.json is not a file"),
    "config cut": Case(lambda f: rewrite(f / "config.json", lambda b: b[:-9]), "config.json does not parse"),
    "more layers than tensors": Case(
        lambda f: rewrite(
            f / "config.json", lambda b: b.replace(b'"num_hidden_layers": 2', b'"num_hidden_layers": 4000')
        ),
        "num_hidden_layers",
    ),
    "SHA256SUMS": Case(lambda f: with_sum(f, "SHA256SUMS"), f"{WEIGHTS} is damaged"),
    "own sum": Case(lambda f: with_sum(f, f"{WEIGHTS}.sha256"), f"{WEIGHTS} is damaged"),
    "link out": Case(linked_out, f"{WEIGHTS} is a link out of the folder"),
}


def cut_at_20_lengths(size: int) -> dict[str, Case]:
    lengths = random.Random(0).sample(range(size), 20)

    def cut(folder: Path, length: int) -> None:
        rewrite(folder / WEIGHTS, lambda content: content[:length])

    return {f"cut at {n}": Case(functools.partial(cut, length=n), WEIGHTS) for n in lengths}


def flipped_at_20_places(content: bytes) -> dict[str, Case]:
    """Anywhere in the header but in the word `format`: another name of a remark changes no number."""
    n_header = int.from_bytes(content[:8], "little")
    remark = content.index(b"format")
    places = [place for place in range(8 + n_header) if not remark <= place < remark + 6]
    chance = random.Random(1)
    return {f"flipped at {place}": flipped(place, chance) for place in chance.sample(places, 20)}


def flipped(place: int, chance: random.Random) -> Case:
    bits = chance.randrange(1, 256)
    return Case(lambda folder: flip(folder / WEIGHTS, place, bits), WEIGHTS)


def test_each_damaged_checkpoint_is_refused_by_its_file_and_the_others_are_finished(
    tiny_run: Path, tasks: Path, tmp_path: Path
) -> None:
    source = tmp_path / "run"
    whole = (tiny_run / "checkpoint-10" / WEIGHTS).read_bytes()
    cases = CASES | cut_at_20_lengths(len(whole)) | flipped_at_20_places(whole)
    for step, original in ((FIRST, "checkpoint-10"), (LAST, "checkpoint-20")):
        shutil.copytree(tiny_run / original, source / f"checkpoint-{step}")
    for step, case in enumerate(cases.values(), 100):
        case.damage(Path(shutil.copytree(tiny_run / "checkpoint-30", source / f"checkpoint-{step}")))

    called = run(source, tasks, tmp_path / "results")

    assert called.status == 1
    assert "Traceback" not in called.err
    failed = dict(re.findall(r"^failed: run/(checkpoint-\d+): (.*)$", called.err, re.MULTILINE))
    wrong = {
        name: failed.get(f"checkpoint-{step}")
        for step, (name, case) in enumerate(cases.items(), 100)
        if not re.search(case.named, failed.get(f"checkpoint-{step}", ""))
    }
    assert wrong == {}
    scored = {one.checkpoint for one in ResultsIndex.open(tmp_path / "results").metrics()}
    assert scored == {f"checkpoint-{FIRST}", f"checkpoint-{LAST}"}
    (status,) = json.loads(milepost("status", tmp_path / "results", "--json").out)["series"]
    assert len(status["checkpoints"]) == len(cases) + 2
    assert {one["checkpoint"]: one["failure"] for one in status["checkpoints"] if one["failure"]} == failed


def figures(results: Path) -> dict[str, tuple[float | None, ...]]:
    found: dict[str, tuple[float | None, ...]] = {}
    for one in ResultsIndex.open(results).metrics():
        found[one.checkpoint] = (*found.get(one.checkpoint, ()), one.value)
    return found


def model_ids(results: Path) -> set[str]:
    return {path.name for path in (results / "store" / "scores").iterdir()}


@pytest.mark.parametrize("times_kept", [True, False])
def test_a_byte_flipped_in_the_data_never_passes_for_the_checkpoint_it_was(
    tiny_run: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times_kept: bool
) -> None:
    monkeypatch.setattr(digests, "SETTLED_S", 0)
    source = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    weights = source / "checkpoint-20" / WEIGHTS
    assert run(source, tasks, tmp_path / "results").status == 0
    before, models = figures(tmp_path / "results"), model_ids(tmp_path / "results")

    times = weights.stat()
    content = load_file(weights)
    content[HEAD].view(-1)[7] *= -3
    save_file(content, weights, metadata={"format": "pt"})
    if times_kept:
        os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    called = run(source, tasks, tmp_path / "results")

    if times_kept:
        assert called.status == 1
        assert f"{WEIGHTS} has other content than at the last reading" in called.err
        assert model_ids(tmp_path / "results") == models
    else:
        assert called.status == 0
        assert len(model_ids(tmp_path / "results") - models) == 1
    after = figures(tmp_path / "results")
    assert after["checkpoint-10"] == before["checkpoint-10"]


def test_odd_tensors_are_scored_with_a_warning(tiny_run: Path, tasks: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    name = "model.layers.0.mlp.up_proj.weight"
    retensor(source / "checkpoint-20", lambda t: t.update({name: torch.zeros_like(t[name])}))
    rewrite(
        source / "checkpoint-30" / "config.json",
        lambda b: re.sub(rb'"(torch_)?dtype": "float32"', rb'"dtype": "bfloat16"', b),
    )
    called = run(source, tasks, tmp_path / "results")
    assert f"checkpoint-20: only zeros in {name}" in called.err
    assert "checkpoint-30: weights are float32, but config.json says bfloat16" in called.err
