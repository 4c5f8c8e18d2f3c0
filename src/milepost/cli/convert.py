"""`milepost convert`: checkpoints as Hugging Face folders, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from milepost.cli.options import output_option
from milepost.cli.output import say, say_json, tell
from milepost.run.convert import Converted, convert
from milepost.sources import Overrides, Steps, discover
from milepost.text.language import _


@click.command("convert")
@click.argument("source", metavar="SOURCE")
@output_option("--output-path", required=True, metavar="DIR", help="A new or empty folder.")
@click.option(
    "--steps", metavar="BEGIN:END:STRIDE", help="Only these steps, END included; parts may be empty."
)
@click.option("--tokenizer", metavar="PATH", help="Tokenizer to write: a folder or Hub address.")
@click.option("--config", metavar="FILE", help="A config in place of those beside the checkpoints.")
@click.option("--base", metavar="MODEL", help="The base model of adapters: a folder or Hub address.")
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
    done, lacking = [], _(" (it has no tokenizer)")
    for converted in convert(series, output_path, tokenizer):
        done.append(converted)
        if converted.folder is None:
            tell(_("error: {name}: {reason}", name=converted.checkpoint.name, reason=converted.problem or ""))
        elif not as_json:
            say(_("wrote {path}", path=converted.folder) + ("" if converted.tokenizer else lacking))
    if as_json:
        say_json([_record(converted) for converted in done])
    return 1 if any(converted.folder is None for converted in done) else 0


def _record(converted: Converted) -> dict[str, Any]:
    return {
        "checkpoint": converted.checkpoint.name,
        "source": converted.checkpoint.source,
        "format": converted.checkpoint.format,
        "folder": None if converted.folder is None else str(converted.folder),
        "weight_bytes": converted.n_bytes,
        "tokenizer": converted.tokenizer,
        "problem": converted.problem,
    }
