"""Shared parts of the benchmarks: model shapes, the offline hub, timing, the machine, result files.

On a CPU every script measures CPU seconds of one thread, which say more than wall time on a shared machine.
Results are `results/<script>-<date>-<name>.json` and the same as `.md`. Heavy imports stay inside
functions, since the offline hub's address must be in the environment before huggingface_hub is imported.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SHARED = (ROOT / os.environ.get("MILEPOST_SHARED", "../shared")).resolve()
MAX_LENGTH = 2048
GPT2_VOCABULARY = 50_257
GPT2 = "openai-community/gpt2"


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama with tied embeddings, a context of 2,048 and the GPT-2 tokenizer's vocabulary."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int

    @property
    def linear_flops(self) -> int:
        """FLOPs of the layers' matrices per token, without attention."""
        kv = self.hidden * self.kv_heads // self.heads
        return 2 * self.layers * self.hidden * (2 * self.hidden + 2 * kv + 3 * self.intermediate)

    @property
    def head_flops(self) -> int:
        """FLOPs of the LM head per row of logits."""
        return 2 * self.hidden * GPT2_VOCABULARY

    @property
    def pair_flops(self) -> int:
        """FLOPs of attention per query and key: the product with the key and that with the value."""
        return 4 * self.layers * self.hidden

    def build(self, dtype: str = "float32", device: str = "cpu", seed: int = 0) -> Any:
        """Return a transformers model in eval mode with random weights."""
        import torch
        from transformers import LlamaForCausalLM

        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(self._config())
        return model.to(device=device, dtype=getattr(torch, dtype)).eval()

    def skeleton(self) -> Any:
        """Return the model without memory for its weights."""
        import torch
        from transformers import LlamaForCausalLM

        with torch.device("meta"):
            return LlamaForCausalLM(self._config())

    def _config(self) -> Any:
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=GPT2_VOCABULARY,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            bos_token_id=50_256,
            eos_token_id=50_256,
        )


SHAPES = {
    "tiny": Shape(32, 64, 2, 4, 2),
    "15M": Shape(192, 512, 12, 6, 2),
    "135M": Shape(576, 1536, 30, 9, 3),
    "500M": Shape(1024, 4096, 30, 16, 4),
    "1B": Shape(2048, 8192, 16, 32, 8),
}


@contextmanager
def offline_hub() -> Iterator[None]:
    """Serve the shared folder's hub as the only Hub for this process and its children."""
    root = SHARED / "hub"
    if not (root / "serve.py").is_file():
        raise SystemExit(f"no offline hub at {root}: set MILEPOST_SHARED")
    command = [sys.executable, str(root / "serve.py"), "--root", str(root), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        os.environ.update(
            HF_ENDPOINT=server.stdout.readline().strip(),
            HF_HUB_DISABLE_TELEMETRY="1",
            NO_PROXY="127.0.0.1",
            TOKENIZERS_PARALLELISM="false",
        )
        os.environ.setdefault("HF_HOME", str(Path(tempfile.gettempdir()) / "milepost-benchmarks"))
        yield
    finally:
        server.terminate()


def one_thread() -> None:
    """Compute with one thread, so that CPU seconds are seconds of work."""
    import torch

    torch.set_num_threads(1)


def cpu_seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of this process and the function's result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


@dataclass(slots=True)
class Memory:
    """Peak memory of some work above the memory before it, in MiB; None if unknown."""

    mib: float | None = None


@contextmanager
def peak_memory() -> Iterator[Memory]:
    """Watch this process's resident memory (Linux with glibc; elsewhere `mib` stays None)."""
    memory = Memory()
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        yield memory
        return
    # Otherwise memory freed by earlier work would be reused without being counted.
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _status_kib("VmRSS")
    yield memory
    memory.mib = (_status_kib("VmHWM") - before) / 1024


def _status_kib(key: str) -> int:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def matmul_peak(dtype: str = "float32", device: str = "cpu", size: int = 1024, seconds: float = 1.0) -> float:
    """Return FLOP per second of a square matrix product, the best of as many as fit into `seconds`.

    A CPU without half-precision instructions does half-precision products fastest in float32.
    """
    import torch

    has_wide = device == "cpu" and dtype != "float32"
    wide = matmul_peak("float32", device, size, seconds) if has_wide else 0.0
    a = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    b = torch.randn(size, size, device=device).to(getattr(torch, dtype))
    on_gpu = torch.device(device).type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    repeats, best, deadline = 20 if on_gpu else 1, float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = clock()
        for _ in range(repeats):
            a @ b
        if on_gpu:
            torch.cuda.synchronize()
        best = min(best, (clock() - start) / repeats)
    return max(wide, 2 * size**3 / best)


def setting() -> dict[str, Any]:
    """Return machine, versions of installed libraries and date, for a result file."""
    names = ("milepost", "lm_eval", "torch", "triton", "transformers", "tokenizers", "datasets", "numpy")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "gpu": _gpu_name(),
            "memory_gib": _memory_gib(),
        },
        "python": platform.python_version(),
        "versions": {name: version for name in names if (version := _version(name)) is not None},
        "commit": commit.stdout.strip() or None,
    }


def write_result(script: str, name: str, result: dict[str, Any], table: list[dict[str, Any]]) -> Path:
    """Write `results/<script>-<date>-<name>.json` and the same as Markdown; return the path of the latter."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    where = setting()
    stem = f"{script}-{where['date']}-{name}"
    document = {"setting": where, "command": " ".join(sys.argv[1:]), **result, "table": table}
    (RESULTS / f"{stem}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    machine = where["machine"]
    versions = ", ".join(f"{key} {value}" for key, value in where["versions"].items())
    head = [
        f"# {script}: {name}",
        "",
        f"{where['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"GPU: {machine['gpu'] or 'none'}; Python {where['python']}, {versions}; commit {where['commit']}.",
        "",
        f"`python benchmarks/{script}.py {document['command']}`".replace(" `", "`"),
        "",
    ]
    path = RESULTS / f"{stem}.md"
    path.write_text("\n".join(head + markdown(table)) + "\n", "utf-8")
    return path


def keep(script: str, name: str, row: dict[str, Any], options: argparse.Namespace) -> None:
    """Print a row as soon as it is measured and store it: in `--out`, else as a result file.

    A later row of the same script and name replaces an earlier one.
    """
    print("\n".join(markdown([{"": key, "value": value} for key, value in row.items()])), flush=True)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        with (options.out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"script": script, "name": name, **setting(), "row": row}) + "\n")
            file.flush()
            os.fsync(file.fileno())
    elif not options.small:
        print(write_result(script, name, {}, [row]))


def markdown(table: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a Markdown table: floats with three significant digits, no lists nor mappings."""
    columns = [column for column, value in table[0].items() if not isinstance(value, (list, dict))]
    rows = [[_show(row[column]) for column in columns] for row in table]
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu_name() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
