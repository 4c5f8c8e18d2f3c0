"""Measure reading a Megatron-LM checkpoint, beside `torch.load` and a plain read of the same files.

    python benchmarks/load.py [--gigabytes 2] [--tensor 4] [--pipeline 2] [--rounds 5] [--folder DIR]

Makes a synthetic checkpoint of random bfloat16 weights (kept in DIR, if given, for another time). Each
measurement is a process of its own, in turns; wall seconds, since what is measured is mostly waiting and
copying, and of several rounds the fastest counts. `cold` is after the kernel was asked to drop the files
from the page cache, `warm` with them in it. The plain read goes through one small buffer and keeps nothing:
cold, it is the sequential read speed of the disk, to which `of disk` compares. `torch.load` only unpickles:
what it gives are eight pieces, not a model. The peak is what the process had more than before it began to
read, in shares of the model's bytes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import markdown, peak_memory, write_result

HIDDEN, FFN, HEADS, GROUPS, VOCABULARY = 2048, 5632, 32, 8, 50_176
LAYER_BYTES = 2 * HIDDEN * (HIDDEN + 2 * HIDDEN * GROUPS // HEADS + HIDDEN + 3 * FFN)
EMBEDDING_BYTES = 2 * 2 * HIDDEN * VOCABULARY
BUFFER_BYTES = 1 << 20
READERS = ("plain read", "torch.load", "milepost")


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    if options.measure:
        print(json.dumps(measure(options.measure, Path(options.folder))))
        return
    with _place(options.folder) as place:
        folder = make_checkpoint(place, options)
        table = compare(folder, options.rounds)
    print("\n".join(markdown(table)))
    name = f"{options.gigabytes:g}GB-tp{options.tensor}-pp{options.pipeline}"
    print(write_result("load", name, {"rounds": options.rounds}, table))


def compare(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row per reader and state of the page cache."""
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    for state in ("cold", "warm"):
        for turn in range(rounds + (state == "warm")):
            for reader in READERS:
                if state == "cold":
                    _drop_from_cache(folder)
                found = _in_a_process(reader, folder)
                if state == "cold" or turn:  # the first warm round only fills the page cache
                    taken.setdefault((state, reader), []).append(found)
    table = []
    disk = min(found["s"] for found in taken["cold", "plain read"])
    for state, reader in taken:
        best = min(taken[state, reader], key=lambda found: found["s"])
        table.append(
            {
                "files": state,
                "reader": reader,
                "s": best["s"],
                "cpu s": best["cpu_s"],
                "GB/s": best["bytes"] / best["s"] / 1e9,
                "of disk": disk / best["s"],
                "peak / model": max(found["peak_bytes"] for found in taken[state, reader]) / best["bytes"],
                "all s": [found["s"] for found in taken[state, reader]],
            }
        )
    return table


def measure(reader: str, folder: Path) -> dict[str, float]:
    """Measure reading the checkpoint in this process."""
    read = _prepared(reader)
    with peak_memory() as memory:
        cpu, start = time.process_time(), time.perf_counter()
        kept = read(folder)
        taken = {"s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu}
    del kept
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*.pt"))
    return {**taken, "bytes": n_bytes, "peak_bytes": (memory.mib or 0.0) * 2**20}


def _prepared(reader: str) -> Callable[[Path], Any]:
    """Return the reader, with everything imported that it needs."""
    if reader == "plain read":
        return _read_plainly
    import torch

    torch.set_num_threads(1)
    if reader == "torch.load":
        return _load_with_torch
    importlib.import_module("transformers.models.llama.configuration_llama")  # not part of reading

    from milepost.weights import read_checkpoint

    return lambda folder: read_checkpoint(folder, "megatron")


def _read_plainly(folder: Path) -> None:
    buffer = bytearray(BUFFER_BYTES)
    for path in sorted(folder.rglob("*.pt")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _load_with_torch(folder: Path) -> list[Any]:
    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        return [torch.load(path, weights_only=True) for path in sorted(folder.rglob("*.pt"))]


def _in_a_process(reader: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", reader, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _drop_from_cache(folder: Path) -> None:
    for path in folder.rglob("*.pt"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make_checkpoint(place: Path, options: argparse.Namespace) -> Path:
    """Make `iter_0000100/` of a Llama of about so many bytes, or use an existing one."""
    import torch

    from milepost.sources.formats.megatron.metadata import Settings, rank_files
    from milepost.weights.formats.megatron.args import parse_args
    from milepost.weights.formats.megatron.tensor_specs import EMBEDDING, OUTPUT, Slot, layer_slots

    stages = options.pipeline
    layers = max(1, round((options.gigabytes * 1e9 - EMBEDDING_BYTES) / LAYER_BYTES / stages)) * stages
    folder = place / "iter_0000100"
    args = _args(layers, options)
    own = layer_slots(parse_args(Settings(folder, args, 100, 3.0)))
    vocabulary = Slot((VOCABULARY, HIDDEN), 0)
    for (_, stage), name in rank_files(options.tensor, stages).items():
        path = folder / name
        if path.exists():
            continue
        slots = {
            f"decoder.layers.{n}.{key}": slot for n in range(layers // stages) for key, slot in own.items()
        }
        if stage == 0:
            slots[EMBEDDING] = vocabulary
        if stage == stages - 1:
            slots |= {"decoder.final_layernorm.weight": Slot((HIDDEN,)), OUTPUT: vocabulary}
        torch.manual_seed(stage)  # what tensor-parallel ranks hold in common must be equal
        model = {
            key: torch.full(slot.shape, 1.0, dtype=torch.bfloat16)
            if len(slot.shape) == 1
            else torch.randn(slot.on_rank(options.tensor), dtype=torch.bfloat16)
            for key, slot in slots.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"args": argparse.Namespace(**args), "checkpoint_version": 3.0, "iteration": 100}
        torch.save({**content, "model": model}, path)
    return folder


def _args(layers: int, options: argparse.Namespace) -> Mapping[str, Any]:
    return {
        "num_layers": layers,
        "hidden_size": HIDDEN,
        "ffn_hidden_size": FFN,
        "num_attention_heads": HEADS,
        "group_query_attention": True,
        "num_query_groups": GROUPS,
        "max_position_embeddings": 2048,
        "padded_vocab_size": VOCABULARY,
        "position_embedding_type": "rope",
        "normalization": "RMSNorm",
        "swiglu": True,
        "add_bias_linear": False,
        "untie_embeddings_and_output_weights": True,
        "params_dtype": "bfloat16",
        "tensor_model_parallel_size": options.tensor,
        "pipeline_model_parallel_size": options.pipeline,
    }


@contextmanager
def _place(folder: str | None) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="milepost-load-") as made:
        yield Path(made)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the model")
    parser.add_argument("--tensor", type=int, default=4, help="tensor-parallel ranks")
    parser.add_argument("--pipeline", type=int, default=2, help="pipeline stages")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the checkpoint is kept; by default a temporary folder")
    parser.add_argument("--measure", choices=READERS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
