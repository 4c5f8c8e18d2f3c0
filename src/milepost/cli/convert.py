"""`milepost convert`: checkpoints as Hugging Face folders, for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from milepost.run.convert import Converted, convert
from milepost.safe_text import printable
from milepost.sources import Overrides, Steps, discover


@click.command("convert")
@click.argument("source", metavar="SOURCE")
@click.option(
    "-o",
    "--output-path",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder that does not exist yet, or is empty.",
)
@click.option(
    "--steps", metavar="BEGIN:END:STRIDE", help="Only these steps, END included; parts may be empty."
)
@click.option("--tokenizer", metavar="PATH", help="Written beside the weights; a folder or Hub address.")
@click.option("--config", metavar="FILE", help="A config in place of any that lies beside the checkpoints.")
@click.option("--base", metavar="MODEL", help="What adapters change: a folder or Hub address.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects, one per checkpoint.")
def command(
    source: str,
    output_path: Path,
    steps: str | None,
    tokenizer: str | None,
    config: str | None,
    base: str | None,
    as_json: bool,
) -> int:
    """Write the checkpoints of SOURCE as config.json, safetensors and tokenizer files.

    Any format that `milepost run` reads: Megatron-LM, DCP, DeepSpeed, adapters (merged into their base). One
    checkpoint becomes DIR itself, each of several a folder of its name in DIR.

    \b
    milepost convert /path/to/megatron-save-dir --steps 2000 -o my-500m-step-2000
    """
    overrides = Overrides(config=Path(config).expanduser() if config is not None else None, base=base)
    series = discover(source, Steps.parse(steps) if steps is not None else None, overrides)
    done = []
    for one in convert(series, output_path, tokenizer):
        done.append(one)
        if not as_json:
            click.echo(_line(one), err=one.folder is None)
    if as_json:
        click.echo(json.dumps([_as_object(one) for one in done], indent=1))
    return 1 if any(one.folder is None for one in done) else 0


def _line(one: Converted) -> str:
    if one.folder is None:
        return f"error: {printable(one.checkpoint.name)}: {printable(one.problem or '')}"
    without = "" if one.tokenizer else " (without a tokenizer: it has none)"
    return f"wrote {printable(str(one.folder))}{without}"


def _as_object(one: Converted) -> dict[str, Any]:
    return {
        "checkpoint": one.checkpoint.name,
        "source": one.checkpoint.source,
        "format": one.checkpoint.format,
        "folder": None if one.folder is None else str(one.folder),
        "weight_bytes": one.n_bytes,
        "tokenizer": one.tokenizer,
        "problem": one.problem,
    }
