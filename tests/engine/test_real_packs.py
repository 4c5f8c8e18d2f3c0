"""All of MMLU 0-shot by the GPU path at its real size: how full the packs are, what is compiled, who waits.

The model is a stub of one narrow layer whose attention gives zeros: what counts are packs, not scores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import transformers
from tokenizers import Tokenizer

from milepost.engine.attention_gpu import FlexRunner
from milepost.engine.packed import PackedEngine
from milepost.types.sequences import Sequences
from tests.engine.emulated import Compiler, compiler

pytestmark = pytest.mark.slow

__all__ = ["compiler"]

SUBJECTS = 57
MOST_DOCS = 1000
"""Of a shard; one subject has more."""
VOCAB = 50_257


@pytest.fixture(scope="module")
def mmlu(shared: Path) -> list[Sequences]:
    """Return MMLU's requests as lm_eval makes them, in shards, with GPT-2's tokenizer."""
    tokenizer = Tokenizer.from_file(str(shared / "hub/models/openai-community/gpt2/main/tokenizer.json"))
    letters = [tokenizer.encode(f" {letter}").ids[0] for letter in "ABCD"]
    shards = []
    for folder in sorted((shared / "hub/datasets/cais/mmlu").iterdir()):
        if not folder.is_dir() or folder.name == "all":
            continue
        docs = pq.read_table(next(folder.glob("test-*.parquet"))).to_pylist()
        intro = f"The following are multiple choice questions (with answers) about {folder.name}.\n\n"
        intro = intro.replace("_", " ")
        prompts = [
            intro
            + doc["question"].strip()
            + "".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", doc["choices"], strict=True))
            + "\nAnswer:"
            for doc in docs
        ]
        inputs = [encoding.ids for encoding in tokenizer.encode_batch(prompts)]
        shards += [requests(inputs[i : i + MOST_DOCS], letters) for i in range(0, len(inputs), MOST_DOCS)]
    return shards


def requests(inputs: list[list[int]], letters: list[int]) -> Sequences:
    """Return four sequences for each input, each with another letter at its end."""
    sequences = [[*tokens[-2048:], letter] for tokens in inputs for letter in letters]
    return Sequences(
        tokens=np.concatenate(sequences).astype(np.int32),
        starts=np.concatenate([[0], np.cumsum([len(one) for one in sequences])]).astype(np.int64),
        n_targets=np.ones(len(sequences), np.int32),
    )


def test_mmlu_is_41_full_packs_of_two_graphs_and_two_waits_each(
    mmlu: list[Sequences], compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(len(shard) for shard in mmlu) == 4 * 14_042
    assert len(mmlu) >= SUBJECTS
    compiler.skips_attention = True
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    longest = max(mmlu, key=lambda shard: int(np.diff(shard.starts).max()))
    engine = PackedEngine(model, vocab_size=VOCAB, budget_tokens=32_768, trial=longest)
    # The stub's scores are no scores: its trial, against the model's own attention, would say so.
    monkeypatch.setattr("milepost.engine.trial.TOLERANCE_NATS", {model.dtype: 1e9})
    engine.score(requests([[1, 2, 3]], [4, 5]))
    assert engine.gpu is not None, engine.fallback
    counts, waits = engine.gpu.counts, engine.gpu.accelerator.waits
    tried = counts.packs, counts.tokens, counts.slots
    scores = list(engine.score_stream(mmlu))
    packs, tokens, slots = (
        after - before
        for after, before in zip((counts.packs, counts.tokens, counts.slots), tried, strict=True)
    )
    assert [len(one.loglikelihood) for one in scores] == [len(shard) for shard in mmlu]
    print(f"{packs} packs, {tokens} tokens, padding {slots / tokens:.3f}, graphs {len(compiler.graphs)}")
    assert packs <= 45
    assert slots <= 1.05 * tokens
    assert engine.gpu.accelerator.waits - waits <= 2 * packs
    assert len(compiler.graphs) <= 3
    assert compiler.dense_calls == FlexRunner.dense_calls == 0
    assert (engine.name, engine.fallback, engine.budget_tokens) == ("packed", None, 32_768)
