"""Measure the time from process start to the first forward pass: a cold plan, a warm plan, and lm_eval.

    python benchmarks/host.py [--tasks mmlu] [-f 5] [--lm-eval]

Each is a real command line, stopped when the model first gets a pack or batch of tokens. Data is in the cache
of `datasets`; only the plan is cold or warm. The import of torch and transformers, which all need, has its
own row. CPU seconds count from the start of the process.
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
from pathlib import Path
from typing import Any

from common import GPT2, SHAPES, markdown, offline_hub, write_result

CHILD = "--child"
SMALLEST_PACK = 128
"""Tokens; engines try themselves on less before they begin."""


def main(arguments: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [CHILD]:
        _run_until_first_forward(arguments[1], arguments[2:])
        return
    options = _options(arguments)
    with offline_hub(), tempfile.TemporaryDirectory(prefix="milepost-host-") as folder:
        table = measure(Path(folder), options)
    print("\n".join(markdown(table)))
    print(write_result("host", f"{options.tasks.replace(',', '+')}-{options.num_fewshot}shot", {}, table))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", default="mmlu")
    parser.add_argument("-f", "--num-fewshot", type=int, default=5)
    parser.add_argument("--lm-eval", action="store_true", help="time lm_eval as well; takes minutes")
    return parser.parse_args(arguments)


def measure(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row per command."""
    from transformers import AutoTokenizer

    checkpoint = folder / "checkpoint-1"
    SHAPES["tiny"].build().save_pretrained(checkpoint)
    AutoTokenizer.from_pretrained(GPT2).save_pretrained(checkpoint)
    ours = ["run", str(checkpoint), "--device", "cpu", "--dtype", "float32", "--tasks", options.tasks]
    ours += ["--num-fewshot", str(options.num_fewshot)]
    _start(
        "milepost", [*ours, "--limit", "1", "--output-path", str(folder / "data")], folder / "for the data"
    )
    table = [{"command": "importing torch and transformers"} | _child("imports", [], folder / "cache")]
    table += [
        {"command": f"milepost run, {plan} plan"}
        | _child("milepost", [*ours, "--output-path", str(folder / plan)], folder / "cache")
        for plan in ("cold", "warm")
    ]
    if options.lm_eval:
        theirs = ["run", "--model", "hf", "--device", "cpu", "--tasks", options.tasks]
        theirs += ["--model_args", f"pretrained={checkpoint},dtype=float32"]
        theirs += ["--num_fewshot", str(options.num_fewshot), "--batch_size", "16"]
        table.append({"command": "lm_eval run"} | _child("lm_eval", theirs, folder / "cache"))
    return table


def _child(program: str, arguments: list[str], cache: Path) -> dict[str, Any]:
    start = time.monotonic()
    last = _start(program, arguments, cache).splitlines()[-1]
    if not last.startswith("{"):
        raise SystemExit(f"{program} {' '.join(arguments)} never ran {SMALLEST_PACK} tokens at once: {last}")
    cpu_s: dict[str, Any] = json.loads(last)
    return {**cpu_s, "wall s": time.monotonic() - start}


def _start(program: str, arguments: list[str], cache: Path) -> str:
    command = [sys.executable, str(Path(__file__).resolve()), CHILD, program, *arguments]
    environment = {**os.environ, "MILEPOST_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def _run_until_first_forward(program: str, arguments: list[str]) -> None:
    """Run the command line in this process up to the first forward pass, and print the CPU seconds."""
    from milepost.cli.main import prepare_process

    if program != "lm_eval":
        prepare_process()
    import torch

    def leave() -> None:
        print(json.dumps({"CPU s": time.process_time()}), flush=True)
        os._exit(0)

    def stop(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, torch.nn.Embedding) and inputs[0].numel() >= SMALLEST_PACK:
            leave()

    if program == "imports":
        importlib.import_module("transformers.modeling_utils")
        leave()

    torch.set_num_threads(1)
    torch.nn.modules.module.register_module_forward_pre_hook(stop)
    sys.argv = [program, *arguments]
    if program == "milepost":
        import milepost.cli.main

        milepost.cli.main.main()
    else:
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()


if __name__ == "__main__":
    main()
