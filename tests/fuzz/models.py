"""Small random models of six architectures, with tokenizers of four kinds."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ARCHITECTURES = ("llama", "gpt2", "gpt_neox", "qwen3", "mistral", "bloom")
TOKENIZERS = ("bytes", "bytes_bos", "words_bos", "unigram")
CONTEXT = 96
WINDOW = 24
"""Mistral's sliding attention window, shorter than many prompts."""
TEXTS = (
    "the cat sat on the mat and the dog ran after it", "a small green door was open in the old stone tower",
    "Question: what is it?\nAnswer: nobody knows", "naïve café Ünïcödé 日本語 1234567890",
    "A. yes\nB. no\nC. both",
)  # fmt: skip


def save_model(folder: Path, architecture: str, tokenizer: str, seed: int) -> Path:
    """Write a model with its tokenizer; large weights make near-ties of answers rare."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fast = make_tokenizer(tokenizer)
    ids = {"bos_token_id": fast.bos_token_id, "eos_token_id": fast.eos_token_id, "pad_token_id": None}
    config = AutoConfig.for_model(architecture, vocab_size=len(fast), **_sizes(architecture), **ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0, 0.2)
    model.generation_config.pad_token_id = None
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def _sizes(architecture: str) -> dict[str, Any]:
    if architecture == "gpt2":
        return {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": CONTEXT}
    if architecture == "bloom":
        return {"hidden_size": 32, "n_layer": 2, "n_head": 2, "seq_length": CONTEXT}
    sizes: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": CONTEXT,
    }  # fmt: skip
    if architecture != "gpt_neox":
        sizes["num_key_value_heads"] = 1
    if architecture == "qwen3":
        sizes["head_dim"] = 16
    if architecture == "mistral":
        sizes["sliding_window"] = WINDOW
    return sizes


@functools.cache
def make_tokenizer(kind: str) -> Any:
    """Return a tokenizer: kinds in `_bos` put a BOS token before each text."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = _TRAINED[kind]()
    special = {"bos_token": "<s>"} if kind.endswith("_bos") else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", **special)


def _bytes() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def _bytes_bos() -> Any:
    return _with_bos(_bytes())


def _words_bos() -> Any:
    """Return a tokenizer like Llama 2's: a space before each text, bytes for unknown characters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    known = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=460, special_tokens=known, show_progress=False)
    )
    vocabulary = trained.get_vocab()
    merges = json.loads(trained.to_str())["model"]["merges"]
    model = models.BPE(
        vocab=vocabulary, merges=[tuple(merge) for merge in merges], unk_token="<unk>", byte_fallback=True,
        fuse_unk=True,
    )  # fmt: skip
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return _with_bos(tokenizer)


def _unigram() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    return tokenizer


def _with_bos(tokenizer: Any) -> Any:
    from tokenizers import processors

    place = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", place)])
    return tokenizer


_TRAINED: dict[str, Callable[[], Any]] = {
    "bytes": _bytes, "bytes_bos": _bytes_bos, "words_bos": _words_bos, "unigram": _unigram,
}  # fmt: skip
