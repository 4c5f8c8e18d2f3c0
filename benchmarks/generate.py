"""Compare our generator with lm_eval's `generate_until` on real prompts: one process, one thread, in turns.

    python benchmarks/generate.py [--tasks gsm8k gsm8k_cot] [--docs 64] [--train-steps N] [--ablation]

The texts of a Llama with random weights never end. So for each task one is first trained for a minute or two
on GSM8K's train answers, until it writes the beginning of a next question, which stops a text. Texts then
have very different lengths. Both sides get the same prompts and
generation settings and stop by the same rules; lm_eval runs at the batch size that is fastest on a sample;
of several rounds the fastest counts, for both. `same texts` counts the prompts that both continue with
exactly the same text.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from common import GPT2, MAX_LENGTH, SHAPES, cpu_seconds, markdown, offline_hub, one_thread, write_result

if TYPE_CHECKING:
    import numpy.typing as npt

    from milepost.types.generation import Generation

BATCH_SIZES = (8, 16, 32)
SAMPLE = 32
"""Prompts on which lm_eval's batch size is chosen; the same size is used up to all of them."""
NEXT_QUESTION = {"gsm8k": "Question:", "gsm8k_cot": "Q:"}
"""What follows an answer in the task's prompts, and stops a text."""
TRAIN_SHARE = 1 / 3
"""Of the answers, the shortest: a model of some minutes never finds the end of a long one."""
CALCULATOR = re.compile(r"<<.*?>>")
"""GSM8K's notes for a calculator in the answers; the prompts of gsm8k_cot have none."""
TRAIN_STEPS = {"gsm8k": 150, "gsm8k_cot": 200}
"""After fewer no text ends, after more all end in their first words."""
TRAIN_TOKENS = 128
TRAIN_ROWS = 4
LEARNING_RATE = 4e-3
WARM_UP_STEPS = 10


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with offline_hub():
        one_thread()
        tables = [measure(name, options) for name in options.tasks]
    table = [row for rows in tables for row in rows]
    print("\n".join(markdown(table)))
    name = "-".join([options.shape, *(["ablation"] if options.ablation else []), *options.tasks])
    if not options.dry:
        steps = {name: _steps(name, options) for name in options.tasks}
        result = {"rounds": options.rounds, "training steps": steps}
        print(write_result("generate", name, result, table))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="15M")
    parser.add_argument("--tasks", nargs="+", choices=NEXT_QUESTION, default=list(NEXT_QUESTION))
    parser.add_argument("--docs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2, help="how often each side is measured")
    parser.add_argument("--train-steps", type=int, help=f"of each task's model; default: {TRAIN_STEPS}")
    parser.add_argument("--batch-size", type=int, help="lm_eval's; default: the fastest on a sample")
    parser.add_argument("--ablation", action="store_true", help="ours only, with one switch off at a time")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    return parser.parse_args(arguments)


def _steps(name: str, options: argparse.Namespace) -> int:
    return options.train_steps or TRAIN_STEPS[name]


def trained(shape: str, steps: int, next_question: str) -> tuple[Any, Any]:
    """Return model and tokenizer of a Llama that was trained on GSM8K's shortest answers for so many steps.

    Each answer is followed by the beginning of the next question. Logits are computed only for tokens that
    occur, as with so small a body the others would take most of the time.
    """
    import torch
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(GPT2)
    docs = load_dataset("openai/gsm8k", "main", split="train")
    answers = sorted((CALCULATOR.sub("", answer) for answer in docs["answer"]), key=len)
    rng = np.random.default_rng(0)
    short = rng.permutation(answers[: int(len(answers) * TRAIN_SHARE)])
    text = "".join(f" {answer}\n\n{next_question}" for answer in short)
    tokens = torch.tensor(tokenizer(text, verbose=False)["input_ids"])
    used, labels = torch.unique(tokens, return_inverse=True)
    model = SHAPES[shape].build()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / WARM_UP_STEPS)
            group["lr"] = LEARNING_RATE * warm * max(0.1, 1 - step / steps)
        place = rng.integers(0, len(tokens) - TRAIN_TOKENS - 1, TRAIN_ROWS)[:, None] + np.arange(TRAIN_TOKENS)
        hidden = model.model(tokens[place]).last_hidden_state
        logits = hidden @ model.get_input_embeddings().weight[used].T
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[place + 1].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval().requires_grad_(False), tokenizer


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of one task."""
    model, tokenizer = trained(options.shape, _steps(name, options), NEXT_QUESTION[name])
    contexts, gen_kwargs, prompts, generation = _prompts(name, tokenizer, options.docs)
    if options.ablation:
        return _ablation(name, model, tokenizer, prompts, generation, options)
    return [_comparison(name, model, tokenizer, contexts, gen_kwargs, prompts, generation, options)]


def _prompts(
    name: str, tokenizer: Any, docs: int
) -> tuple[list[str], dict[str, Any], list[npt.NDArray[np.int32]], Generation]:
    """Return the task's prompts and generation_kwargs, as strings and as Milepost plans them."""
    from milepost.plan.shards import DEFAULT_SHARD_TOKENS, shard_sequences
    from milepost.run.display.journal import Journal
    from milepost.run.plans.planning import make_plan
    from milepost.tasks.question_source import ModelTraits
    from milepost.tasks.settings import TaskSettings
    from milepost.types.generation import GenerationDefaults

    with Journal() as journal:
        models = ModelTraits(
            load_tokenizer=lambda: tokenizer,
            tokenizer_id=GPT2,
            max_length=MAX_LENGTH,
            defaults=GenerationDefaults(stop_tokens=(tokenizer.eos_token_id,)),
        )
        settings = TaskSettings(names=(name,), limit=docs)
        plan = make_plan(settings, models, journal, shard_tokens=DEFAULT_SHARD_TOKENS, reuse=False).plan
    (task,) = plan.tasks
    asked = [json.loads(arguments)[0] for arguments in task.docs.table()["arguments"].to_pylist()]
    prompts = []
    for shard in task.shards:
        found = shard_sequences(task.encoded, shard)
        prompts += [found.tokens[found.starts[i] : found.starts[i + 1]] for i in range(len(found))]
    (generation,) = task.generations.settings
    return [context for context, _ in asked], asked[0][1], prompts, generation


class Harness:
    """lm_eval's HFLM over the model."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        from lm_eval.models.huggingface import HFLM

        self.lm: Any = HFLM(pretrained=model, tokenizer=tokenizer, max_length=MAX_LENGTH, batch_size=1)

    def generate(self, contexts: Sequence[str], gen_kwargs: dict[str, Any], batch_size: int) -> list[str]:
        from lm_eval.api.instance import Instance

        self.lm.batch_size_per_gpu = batch_size
        requests = [
            Instance(request_type="generate_until", doc={}, arguments=(context, dict(gen_kwargs)), idx=0)
            for context in contexts
        ]
        texts: list[str] = self.lm.generate_until(requests, disable_tqdm=True)
        return texts

    def fastest_batch_size(self, contexts: Sequence[str], gen_kwargs: dict[str, Any]) -> int:
        sample = contexts[:: max(1, len(contexts) // SAMPLE)][:SAMPLE]
        sizes = [size for size in BATCH_SIZES if size <= len(sample)] or [1]
        seconds = {size: cpu_seconds(partial(self.generate, sample, gen_kwargs, size))[0] for size in sizes}
        return min(seconds, key=seconds.__getitem__)


def _comparison(
    name: str,
    model: Any,
    tokenizer: Any,
    contexts: list[str],
    gen_kwargs: dict[str, Any],
    prompts: list[npt.NDArray[np.int32]],
    generation: Generation,
    options: argparse.Namespace,
) -> dict[str, Any]:
    from milepost.engine import build_generator

    vocab_size = model.config.vocab_size
    harness = Harness(model, tokenizer)
    batch_size = options.batch_size or harness.fastest_batch_size(contexts, gen_kwargs)
    their_s, our_s = [], []
    theirs: list[str] = []
    ours: list[str] = []
    for _ in range(options.rounds):
        seconds, theirs = cpu_seconds(partial(harness.generate, contexts, gen_kwargs, batch_size))
        their_s.append(seconds)
        # Built anew each round, so that its trial and its table of stop tokens count as well.
        generator = build_generator("auto", model, tokenizer, vocab_size=vocab_size)
        seconds, found = cpu_seconds(partial(generator.generate, prompts, generation))
        our_s.append(seconds)
        ours = [texts[0] if texts else "" for texts in found]
    lengths = [len(tokenizer(text)["input_ids"]) for text in ours]
    return {
        "task": name,
        "shape": options.shape,
        "prompts": len(prompts),
        "prompt tokens": int(np.mean([len(prompt) for prompt in prompts])),
        "text tokens": f"{min(lengths)}-{int(np.median(lengths))}-{max(lengths)}",
        "stopped": sum(length < generation.max_new_tokens - 1 for length in lengths),
        "lm_eval batch": batch_size,
        "lm_eval s": min(their_s),
        "our s": min(our_s),
        "ratio": min(their_s) / min(our_s),
        "same texts": sum(a == b for a, b in zip(theirs, ours, strict=True)),
        "generator": generator.name,
        "all lm_eval s": their_s,
        "all our s": our_s,
        "all lengths": lengths,
    }


def _ablation(
    name: str,
    model: Any,
    tokenizer: Any,
    prompts: list[npt.NDArray[np.int32]],
    generation: Generation,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Return a row with all optimizations on, then a row per optimization that is off, measured in turns."""
    from milepost.engine.generate.batched import BatchedGenerator
    from milepost.engine.optimizations import GENERATION, Optimizations

    all_on = Optimizations()
    variants = {"all on": all_on}
    for switch in GENERATION:
        variants[f"without {switch}"] = replace(all_on, **{switch: False})
    seconds: dict[str, list[float]] = {label: [] for label in variants}
    for _ in range(options.rounds):
        for label, optimizations in variants.items():
            generator = BatchedGenerator(
                model, tokenizer, vocab_size=model.config.vocab_size, optimizations=optimizations
            )
            seconds[label].append(cpu_seconds(partial(generator.generate, prompts, generation))[0])
    base = min(seconds["all on"])
    return [
        {
            "task": name,
            "shape": options.shape,
            "variant": label,
            "CPU s": min(times),
            "times as long": min(times) / base,
        }
        for label, times in seconds.items()
    ]


if __name__ == "__main__":
    main()
