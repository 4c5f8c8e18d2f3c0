"""Measure generation on one GPU: our generator, transformers' continuous batching and `generate`, a server.

    python benchmarks/gpu_generate.py --plan plans/gsm8k --tokenizer plans/tokenizer
    python benchmarks/gpu_generate.py --small
    python benchmarks/gpu_generate.py ... --base-url http://127.0.0.1:8000/v1

`auto` is also measured without each of its optimizations for a GPU. A server must serve the same shape.

The texts of random weights never end, so every text has `--new-tokens` tokens; the result is tokens per
second. Each row is stored as soon as it is measured; a failure is stored with its reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import GPT2_VOCABULARY, SHAPES, keep
from on_device import parsed, parser_of, timed
from saved_plans import read_plan

if TYPE_CHECKING:
    import numpy.typing as npt

    Prompts = Sequence[npt.NDArray[np.int32]]

SWITCHES = {"graphs": "decode_graphs", "look_ahead": "look_ahead", "fixed_steps": "fixed_steps"}
"""By the name after `auto-no-`: the field of `Optimizations` that is off."""
WAYS = ("auto", *(f"auto-no-{name}" for name in SWITCHES), "hf-continuous", "generate", "server")


def main(arguments: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--plan", type=Path, help="a saved plan of a task that asks for texts")
    parser.add_argument("--tokenizer", type=Path, help="folder of its tokenizer")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32, help="of plain `generate`")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[way for way in WAYS if way != "server"])
    parser.add_argument("--base-url", help="of an OpenAI-compatible server, for the way `server`")
    options = parsed(parser, arguments)
    if options.small:
        options.prompts, options.new_tokens, options.batch_size, options.ways = (
            3,
            4,
            2,
            ("auto", "auto-no-graphs", "generate"),
        )
    if options.base_url and "server" not in options.ways:
        options.ways = [*options.ways, "server"]
    model = SHAPES[options.shape].build(options.dtype, options.device)
    if options.small:
        options.tokenizer = None
    prompts, codec = _prompts(options), _codec(options.tokenizer)
    texts: dict[str, Any] = {}
    for way in options.ways:
        row = _measure(way, model, codec, prompts, texts, options)
        keep("gpu_generate", f"{options.shape}-{options.dtype}-{way}", row, options)


def _measure(
    way: str, model: Any, codec: Any, prompts: Prompts, texts: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    row = {
        "shape": options.shape,
        "dtype": options.dtype,
        "device": options.device,
        "way": way,
        "prompts": len(prompts),
        "prompt tokens": int(np.mean([len(prompt) for prompt in prompts])),
        "new tokens": options.new_tokens,
    }
    try:
        if way == "generate":
            run, told = _plain(model, options), dict
        else:
            run, told = _ours(way, model, codec, options)
        texts[way] = run(prompts)
        seconds = timed(options.device, lambda: run(prompts))
    except Exception as error:  # what fails is told, and the other ways are measured all the same
        return {**row, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    first = texts[next(iter(texts))]
    return {
        **row,
        "s": seconds,
        "new tokens/s": len(prompts) * options.new_tokens / seconds,
        "same texts as the first": sum(a == b for a, b in zip(first, texts[way], strict=True)),
        **told(),
    }


def _ours(
    way: str, model: Any, codec: Any, options: argparse.Namespace
) -> tuple[Callable[[Prompts], list[str | None]], Callable[[], dict[str, Any]]]:
    """Return a function that continues prompts, and one that describes the generator afterwards."""
    from milepost.engine import build_generator
    from milepost.engine.generate.step_graph import StepGraph
    from milepost.engine.optimizations import Optimizations
    from milepost.types.generation import Generation

    if way == "server":
        from milepost.engine.server.client import ServerClient
        from milepost.engine.server.engines import ServerGenerator

        generator: Any = ServerGenerator(ServerClient.connect(options.base_url))
    else:
        name, _, off = way.partition("-no-")
        optimizations = replace(Optimizations(), **{SWITCHES[off]: False}) if off else None
        vocab_size = model.config.vocab_size
        generator = build_generator(name, model, codec, vocab_size=vocab_size, optimizations=optimizations)
    asked = Generation(until=(), max_new_tokens=options.new_tokens)
    recorded = StepGraph.n_recorded

    def description() -> dict[str, Any]:
        return {
            "by": generator.name,
            "graphs recorded": StepGraph.n_recorded - recorded,
            **({"why": generator.fallback} if generator.fallback else {}),
        }

    def texts(prompts: Prompts) -> list[str | None]:
        return [answers[0] if answers else None for answers in generator.generate(prompts, asked)]

    return texts, description


def _plain(model: Any, options: argparse.Namespace) -> Any:
    """Return transformers' `generate` with left padding, as lm_eval calls it."""
    import torch

    codec = _codec(options.tokenizer)

    def run(prompts: Prompts) -> list[str]:
        texts = []
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        for start in range(0, len(order), options.batch_size):
            batch = [prompts[i] for i in order[start : start + options.batch_size]]
            width = max(map(len, batch))
            ids = np.stack([np.pad(prompt, (width - len(prompt), 0)) for prompt in batch])
            mask = np.stack([np.arange(width) >= width - len(prompt) for prompt in batch])
            with torch.inference_mode():
                found = model.generate(
                    torch.from_numpy(ids).long().to(options.device),
                    attention_mask=torch.from_numpy(mask).long().to(options.device),
                    max_new_tokens=options.new_tokens,
                    min_new_tokens=options.new_tokens,
                    do_sample=False,
                    pad_token_id=0,
                )
            texts += codec.batch_decode(found[:, width:].tolist())
        return [text for _, text in sorted(zip(order, texts, strict=True))]

    return run


def _prompts(options: argparse.Namespace) -> Prompts:
    if options.small:
        random = np.random.default_rng(0)
        return [random.integers(5, 500, size).astype(np.int32) for size in (9, 12, 12)]
    sequences = read_plan(options.plan).tasks[0].encoded.sequences
    prompts = np.split(sequences.tokens, sequences.starts[1:-1])
    return prompts[: options.prompts]


def _codec(folder: Path | None) -> Any:
    """Return the tokenizer in `folder`, or a synthetic one with as many words as GPT-2 has tokens."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if folder is not None:
        return AutoTokenizer.from_pretrained(folder)
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(GPT2_VOCABULARY)}, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")


if __name__ == "__main__":
    main()
