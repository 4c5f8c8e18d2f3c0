"""Train a small Llama on documents and keep about ten checkpoints, log-spaced in steps.

Knows nothing of the world: strings in, a training run out, laid out as transformers' Trainer would
(`checkpoint-N/` with config, tokenizer and safetensors). Importing it imports torch and transformers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

BEGIN, END = "<s>", "</s>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Shape of the model and course of its training. The defaults take about a minute on two cores."""

    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 3
    heads: int = 4
    vocab_size: int = 1024
    context: int = 256
    steps: int = 800
    warmup_steps: int = 50
    first_kept_step: int = 25
    kept_checkpoints: int = 10
    sequences_per_step: int = 8
    sequence_length: int = 128
    """Tokens; a step reads `sequences_per_step` times as many."""
    learning_rate: float = 6e-3
    weight_decay: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the training."""

    step: int
    steps: int
    loss: float
    """Mean cross-entropy of the step's tokens, in nats."""


def train(
    read_once: Callable[[], list[str]],
    folder: Path,
    recipe: Recipe,
    report: Callable[[Progress], None] = lambda progress: None,
) -> list[Path]:
    """Train a model from random weights; return the folders of its checkpoints, in order of steps.

    Args:
        read_once: gives all documents, in a new order at each call.
        folder: where `checkpoint-N/` go; created if need be.
        recipe: shape and course.
        report: called after every step.
    """
    tokenizer = _train_tokenizer(read_once(), recipe)
    batches = _batches(read_once, tokenizer, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = _make_model(tokenizer, recipe)
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
        kept = []
        for step, batch in enumerate(itertools.islice(batches, recipe.steps), start=1):
            loss = _take_step(model, optimizer, batch, learning_rate(step, recipe))
            report(Progress(step, recipe.steps, loss))
            if step in kept_steps(recipe):
                kept.append(folder / f"checkpoint-{step}")
                _save(model, tokenizer, kept[-1])
    return kept


def kept_steps(recipe: Recipe) -> tuple[int, ...]:
    """Return the steps whose checkpoints are kept: evenly apart on a log scale, the last step among them."""
    ratio = recipe.steps / recipe.first_kept_step
    last = recipe.kept_checkpoints - 1
    return tuple(round(recipe.first_kept_step * ratio ** (i / last)) for i in range(last + 1))


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    if step <= recipe.warmup_steps:
        return recipe.learning_rate * step / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / (recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)


def _take_step(
    model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, batch: torch.Tensor, rate: float
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = model(input_ids=batch, labels=batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.item())


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save as transformers does, without the progress bar that it shows for a single small file."""
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


def _train_tokenizer(documents: Iterable[str], recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text can be put to the model, not only that of its world."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, model_max_length=recipe.context
    )


def _make_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def _batches(
    read_once: Callable[[], list[str]], tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> Iterator[torch.Tensor]:
    """[N, T] token ids without end: documents one after the other, cut where a sequence is full."""
    size = recipe.sequences_per_step * recipe.sequence_length
    ids: list[int] = []
    while True:
        while len(ids) < size:
            for document in tokenizer(read_once())["input_ids"]:
                ids += document
        yield torch.tensor(ids[:size]).view(recipe.sequences_per_step, recipe.sequence_length)
        del ids[:size]
