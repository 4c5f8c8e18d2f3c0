"""Measure the shared memory of FlexAttention's kernel for each card, assembled with Triton without a card.

    python -m venv /tmp/triton && /tmp/triton/bin/pip install triton==3.6.0    (a torch for CPUs brings none)
    /tmp/triton/bin/python benchmarks/kernels.py --heads 64 128 --cards 86 90
    /tmp/triton/bin/python benchmarks/kernels.py --tiles 64,64,3,4 32,32,2,4 --csv

Needs Triton alone. Prints one row per kernel: shared memory in bytes, registers a thread, bytes of stack
(spilled registers), seconds to assemble. `--csv` gives the lines of `tests/engine/assembled_kernels.csv`,
with which the formula in `milepost.engine.kernel_options` is tested.
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

CARDS = (75, 80, 86, 89, 90, 100, 120)
HEADS = (16, 32, 64, 80, 96, 128, 192, 256)
TILES = ((64, 64, 3, 4), (64, 64, 2, 4), (64, 32, 2, 4), (32, 32, 2, 4), (16, 16, 1, 4))
NO_BFLOAT16 = 80
"""Cards below this compute capability have none."""


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    import triton

    print(_line(("capability", "dtype", "head", "M", "N", "stages", "warps", "shared", "registers", "stack",
                 "seconds", "triton"), options.csv))  # fmt: skip
    for card, dtype, head, tile in itertools.product(
        options.cards, options.dtypes, options.heads, options.tiles
    ):
        if dtype == "bfloat16" and card < NO_BFLOAT16:
            continue
        row = measure(card, dtype, head, tile)
        shown = (row[key] for key in ("shared", "registers", "stack", "seconds"))
        print(_line((card, dtype, head, *tile, *shown, triton.__version__), options.csv), flush=True)


def measure(card: int, dtype: str, head: int, tile: tuple[int, int, int, int]) -> dict[str, Any]:
    """Return shared memory, registers and stack of one kernel; None for unknown values."""
    from flex_kernel import assemble

    start = time.perf_counter()
    kernel = assemble(card, dtype, head, tile[:2], *tile[2:])
    seconds = round(time.perf_counter() - start, 1)
    return {"shared": kernel.metadata.shared, "seconds": seconds, **_resources(kernel.asm["cubin"])}


def _resources(code: bytes) -> dict[str, int | None]:
    found = None
    if (tool := shutil.which("cuobjdump") or _tritons_own("cuobjdump")) is not None:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(code)
            file.flush()
            command = [tool, "--dump-resource-usage", file.name]
            told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    registers, stack = (int(found[1]), int(found[2])) if found else (None, None)
    return {"registers": registers, "stack": stack}


def _tritons_own(name: str) -> str | None:
    from triton.backends import nvidia

    path = Path(nvidia.__path__[0], "bin", name)
    return str(path) if path.exists() else None


def _line(cells: tuple[Any, ...], as_csv: bool) -> str:
    words = ["" if cell is None else str(cell) for cell in cells]
    return ",".join(words) if as_csv else "  ".join(word.rjust(9) for word in words)


def _tile(text: str) -> tuple[int, ...]:
    tile = tuple(int(word) for word in text.split(","))
    if len(tile) != len(TILES[0]):
        raise argparse.ArgumentTypeError("rows,keys,stages,warps")
    return tile


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cards", type=int, nargs="+", default=CARDS, help="compute capabilities, such as 86"
    )
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "float16", "bfloat16"), default=("bfloat16", "float16")
    )
    parser.add_argument("--heads", type=int, nargs="+", default=HEADS, help="head sizes")
    parser.add_argument("--tiles", type=_tile, nargs="+", default=TILES, help="rows,keys,stages,warps")
    parser.add_argument("--csv", action="store_true", help="comma-separated")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
