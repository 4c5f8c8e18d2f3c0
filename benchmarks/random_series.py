"""Write a training run of random weights, as a trainer would have saved it: safetensors and a config.

    python benchmarks/random_series.py FOLDER --shape 500M --checkpoints 27

Uses a GPU if there is one, since drawing 27 times half a billion numbers takes minutes on a CPU. A
RAM disk (/dev/shm) keeps the disk's speed out of a measurement.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from common import SHAPES

STEPS_BETWEEN = 1000


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="500M")
    parser.add_argument("--checkpoints", type=int, default=27)
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokenizer", type=Path, help="a folder of tokenizer files to put beside them")
    options = parser.parse_args(arguments)
    make_series(
        options.folder, options.shape, options.checkpoints, options.dtype, options.device, options.tokenizer
    )


def make_series(
    folder: Path, shape: str, n: int, dtype: str, device: str, tokenizer: Path | None = None
) -> list[Path]:
    """Write `step-1000`, `step-2000`, ... in `folder`; existing ones are kept."""
    import torch
    from safetensors.torch import save_file

    model = SHAPES[shape].skeleton()
    names = {
        name: parameter.shape for name, parameter in model.state_dict().items() if name != "lm_head.weight"
    }
    config = {
        **model.config.to_dict(), "dtype": dtype, "architectures": [type(model).__name__],
    }  # fmt: skip
    made = []
    for number in range(1, n + 1):
        path = folder / f"step-{number * STEPS_BETWEEN}"
        made.append(path)
        if (path / "model.safetensors").exists():
            continue
        path.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator(device).manual_seed(number)
        weights = {}
        for name, size in names.items():
            wanted = {"device": device, "dtype": getattr(torch, dtype)}
            if len(size) > 1:
                drawn = torch.randn(size, generator=generator, **wanted) * model.config.hidden_size**-0.5
            else:
                drawn = torch.ones(size, **wanted)
            weights[name] = drawn.cpu()
        (path / "config.json").write_text(json.dumps(config, default=str), "utf-8")
        for file in tokenizer.iterdir() if tokenizer is not None else ():
            shutil.copy(file, path)
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return made


if __name__ == "__main__":
    main()
