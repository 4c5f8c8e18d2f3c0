"""Every kind of PEFT adapter over every kind of base: the logits are those of peft's own, unmerged model."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from milepost.sources import discover, fetch, identify
from milepost.weights import Bases, LiveModel, read_checkpoint, read_config, rows_after_merging
from milepost.weights.formats.peft.patterns import endless_pattern
from tests.sources.folders import refusal_of

pytestmark = pytest.mark.slow

VOCABULARY = 100
ADDED = 7
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
BASES: dict[str, PretrainedConfig] = {
    "tied": LlamaConfig(**_SHAPE, tie_word_embeddings=True),
    "untied": LlamaConfig(**_SHAPE, tie_word_embeddings=False),
    "gemma": GemmaConfig(**_SHAPE, head_dim=8, tie_word_embeddings=True),
    "neox": GPTNeoXConfig(**{**_SHAPE, "rotary_pct": 0.5, "num_key_value_heads": None}),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3
    ),
}
NAMES = {
    "tied": ("embed_tokens", "lm_head", ["q_proj", "down_proj"], "norm"),
    "untied": ("embed_tokens", "lm_head", ["q_proj", "down_proj"], "norm"),
    "gemma": ("embed_tokens", "lm_head", ["q_proj", "down_proj"], "norm"),
    "neox": ("embed_in", "lm_head", ["query_key_value", "dense_4h_to_h"], "final_layer_norm"),
    "gpt2": ("wte", "lm_head", ["c_attn", "c_fc"], "ln_f"),
}
"""Input embedding, output embedding, linear layers and last norm of each."""
KINDS = [
    "plain", "rslora", "dora", "bias-all", "bias-lora-only", "lora-bias", "patterns", "all-linear", "regex",
    "some-layers", "embedding", "head", "embedding-and-head", "tied-adapters", "save-embedding", "save-head",
    "save-both", "save-tied", "save-norm", "tokens", "tokens-and-linear-head", "replicated", "dora-embedding",
]  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny random model per architecture, biases and norms included."""
    home = tmp_path_factory.mktemp("bases")
    for number, (name, config) in enumerate(BASES.items()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            model = AutoModelForCausalLM.from_config(config)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(home / name)
    return home


def settings_of(kind: str, base: str) -> dict[str, Any]:
    embedding, head, linear, norm = NAMES[base]
    kinds: dict[str, dict[str, Any]] = {
        "plain": {"target_modules": linear},
        "rslora": {"target_modules": linear, "use_rslora": True},
        "dora": {"target_modules": linear, "use_dora": True},
        "bias-all": {"target_modules": linear, "bias": "all"},
        "bias-lora-only": {"target_modules": linear, "bias": "lora_only"},
        "lora-bias": {"target_modules": linear, "lora_bias": True},
        "patterns": {
            "target_modules": linear, "rank_pattern": {linear[0]: 2}, "alpha_pattern": {linear[1]: 3}
        },
        "all-linear": {"target_modules": "all-linear"},
        "regex": {"target_modules": rf".*\.1\..*({'|'.join(linear)})"},
        "some-layers": {"target_modules": linear, "layers_to_transform": [1]},
        "embedding": {"target_modules": [embedding, *linear]},
        "dora-embedding": {"target_modules": [embedding, *linear], "use_dora": True},
        "head": {"target_modules": [head, *linear]},
        "embedding-and-head": {"target_modules": [embedding, head]},
        "tied-adapters": {"target_modules": [embedding, *linear], "ensure_weight_tying": True},
        "save-embedding": {"target_modules": linear, "modules_to_save": [embedding]},
        "save-head": {"target_modules": linear, "modules_to_save": [head]},
        "save-both": {"target_modules": linear, "modules_to_save": [embedding, head]},
        "save-tied": {"target_modules": linear, "modules_to_save": [embedding], "ensure_weight_tying": True},
        "save-norm": {"target_modules": linear, "modules_to_save": [norm]},
        "tokens": {"target_modules": linear, "trainable_token_indices": [3, 5, 99]},
        "tokens-and-linear-head": {
            "target_modules": [head], "trainable_token_indices": {embedding: [3, 5, 99]}
        },
        "replicated": {"target_modules": linear, "layer_replication": [[0, 2], [1, 2]]},
    }  # fmt: skip
    return kinds[kind]


def possible(kind: str, base: str) -> bool:
    if kind in {"tied-adapters", "save-tied"}:
        return base in {"tied", "gemma", "gpt2"}  # the others tie nothing
    if kind == "lora-bias":
        return base in {"neox", "gpt2"}  # the others have no bias to add to
    if kind == "replicated":
        return base not in {"gpt2", "neox"}  # peft does not know what their layers are called
    return True


CASES = [(kind, base) for kind in KINDS for base in BASES if possible(kind, base)]


def train(base: PreTrainedModel, folder: Path, settings: dict[str, Any], **saving: Any) -> torch.Tensor:
    """Write an adapter whose every trained weight is random; the logits of the model in training."""
    config = LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, lora_alpha=8, **settings)
    return train_with(base, folder, config, **saving)


def train_with(base: PreTrainedModel, folder: Path, config: peft.PeftConfig, **saving: Any) -> torch.Tensor:
    """Train as `train`, for an adapter of any kind."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        model = get_peft_model(base, config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        model.peft_config["default"].base_model_name_or_path = str(base.name_or_path)
        model.save_pretrained(folder, **saving)
    return logits_of(model)


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    """Logits [2, 24, vocabulary] of every other token that the model knows, in eval mode."""
    n_tokens = model.get_input_embeddings().weight.shape[0]
    tokens = torch.linspace(0, n_tokens - 1, 48).long().reshape(2, 24)
    model.eval()
    with torch.no_grad():
        logits: torch.Tensor = model(tokens).logits
    return logits


def pefts_own(base: Path, folder: Path, n_tokens: int = VOCABULARY) -> torch.Tensor:
    """Logits of the adapter loaded by peft over the base in float32, grown first as peft's documents say."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if n_tokens != VOCABULARY:
            model.resize_token_embeddings(n_tokens)
        return logits_of(PeftModel.from_pretrained(model, folder))


def ours(folder: Path, cache: Path) -> tuple[torch.Tensor, Bases]:
    (checkpoint,) = discover(str(folder)).checkpoints
    assert checkpoint.problem is None
    assert checkpoint.base is not None
    sums = {file.name: file.sha256 for file in identify(checkpoint, cache).files}
    known = Bases()
    base = known.of(checkpoint.base, cache)
    weights = read_checkpoint(fetch(checkpoint), checkpoint.format, sums, base=base)
    return logits_of(LiveModel.build(weights, dtype="float32").module), known


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5 * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize(("kind", "base"), CASES, ids=lambda value: value)
def test_logits_are_those_of_pefts_own_model(bases: Path, tmp_path: Path, kind: str, base: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases / base)
    trained = train(model, tmp_path / "run", settings_of(kind, base))
    expected = pefts_own(bases / base, tmp_path / "run")
    assert_same(expected, trained)
    found, known = ours(tmp_path / "run", tmp_path)
    assert_same(found, expected)
    (checkpoint,) = discover(str(tmp_path / "run")).checkpoints
    assert checkpoint.base is not None
    plain = logits_of(AutoModelForCausalLM.from_pretrained(bases / base))
    assert_same(logits_of(known.of(checkpoint.base, tmp_path).module), plain)  # the base is what it was


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("kind", ["plain", "save-both", "embedding-and-head", "tokens", "all-linear"])
def test_tokens_added_with_the_adapter_are_known(bases: Path, tmp_path: Path, kind: str, base: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases / base)
    with torch.random.fork_rng(devices=[]):
        model.resize_token_embeddings(VOCABULARY + ADDED)
    settings = settings_of(kind, base)
    if kind == "tokens":
        settings["trainable_token_indices"] = list(range(VOCABULARY, VOCABULARY + ADDED))
    trained = train(model, tmp_path / "run", settings)
    rows = rows_after_merging(tmp_path / "run", read_config(bases / base))
    assert rows == VOCABULARY + ADDED
    assert_same(pefts_own(bases / base, tmp_path / "run", rows), trained)
    assert_same(ours(tmp_path / "run", tmp_path)[0], trained)


@pytest.mark.parametrize("base", ["tied", "untied", "gpt2"])
def test_added_tokens_alone_need_no_whole_embedding(bases: Path, tmp_path: Path, base: str) -> None:
    """Trainable tokens saved without the embedding: the rows of the added tokens are all that is new."""
    model = AutoModelForCausalLM.from_pretrained(bases / base)
    model.resize_token_embeddings(VOCABULARY + ADDED)
    embedding, head, linear, _ = NAMES[base]
    added = list(range(VOCABULARY, VOCABULARY + ADDED))
    where = {embedding: added} if base != "untied" else {embedding: added, head: added}
    settings = {"target_modules": linear, "trainable_token_indices": where}
    trained = train(model, tmp_path / "run", settings, save_embedding_layers=False)
    assert_same(ours(tmp_path / "run", tmp_path)[0], trained)


def test_added_tokens_whose_rows_were_not_saved_are_named(bases: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases / "untied")
    model.resize_token_embeddings(VOCABULARY + ADDED)
    train(model, tmp_path / "run", settings_of("head", "untied"), save_embedding_layers=False)
    refusal = refusal_of(lambda: ours(tmp_path / "run", tmp_path))
    assert "adds 7 tokens to the base's 100 and lacks rows of" in refusal.message
    assert "save_embedding_layers=True" in str(refusal.hint)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alora_invocation_tokens": [1, 2]}, "applies from a certain token on only (aLoRA)"),
        ({"use_qalora": True, "qalora_group_size": 16}, "(use_qalora)"),
        ({"layer_replication": [[0, 1_000_000]]}, "replicated layers"),
        ({"layer_replication": "x"}, "not a list of ranges"),
    ],
)
def test_lora_that_cannot_be_merged_is_refused_by_name(
    bases: Path, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases / "tied")
    train(model, tmp_path / "run", settings_of("plain", "tied"))
    path = tmp_path / "run/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    assert words in refusal_of(lambda: ours(tmp_path / "run", tmp_path)).message


def test_the_tokenizer_beside_the_adapter_grows_the_base_as_peft_does(
    bases: Path, tmp_path: Path, tiny_llama: Path
) -> None:
    """`AutoPeftModelForCausalLM` resizes by the tokenizer, we by the tensors: the same model comes of it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    tokenizer.add_tokens(["<tool>", "</tool>", "<think>"])
    model.resize_token_embeddings(len(tokenizer))
    trained = train(model, tmp_path / "run", settings_of("save-both", "tied"))
    tokenizer.save_pretrained(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = logits_of(AutoPeftModelForCausalLM.from_pretrained(tmp_path / "run"))
    assert_same(expected, trained)
    assert_same(ours(tmp_path / "run", tmp_path)[0], expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "((([a-z_0-9.]+)+)+)+!"},
        {"exclude_modules": "((([a-z_0-9.]+)+)+)+!"},
        {"rank_pattern": {"(([a-z_.0-9]+)+)+!": 3}},
        {"layers_to_transform": [0], "layers_pattern": "(([a-z_.0-9]+)+)+!"},
    ],
)
def test_a_pattern_without_end_is_refused(
    bases: Path, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milepost.weights.formats.peft.patterns.TIME_LIMIT_S", 1.0)
    train(
        AutoModelForCausalLM.from_pretrained(bases / "tied"), tmp_path / "run", settings_of("plain", "tied")
    )
    path = tmp_path / "run/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    message = refusal_of(lambda: ours(tmp_path / "run", tmp_path)).message
    assert f"a regular expression that does not terminate ({list(settings)[-1]})" in message


def test_patterns_as_trainers_write_them_are_tried_and_taken() -> None:
    names = [f"model.layers.{n}.self_attn.q_proj" for n in range(200)]
    unsloth = (
        r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|v_proj)"
        r".*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|v_proj)))"
    )
    assert endless_pattern({"target_modules": unsloth, "rank_pattern": {"(q|v)_proj": 4}}, names) is None


OTHERS = {
    "boft": lambda linear: peft.BOFTConfig(target_modules=linear, boft_block_size=4),
    "hra": lambda linear: peft.HRAConfig(target_modules=linear, r=4),
    "ln": lambda linear: peft.LNTuningConfig(target_modules=["norm", "input_layernorm"]),
    "shira": lambda linear: peft.ShiraConfig(target_modules=linear, r=4),
    "miss": lambda linear: peft.MissConfig(target_modules=linear, r=4),
    "c3a": lambda linear: peft.C3AConfig(target_modules=["q_proj"], block_size=8),
    "delora": lambda linear: peft.DeloraConfig(target_modules=linear, r=4),
    "tokens": lambda linear: peft.TrainableTokensConfig(token_indices=[3, 5, 99]),
}


@pytest.mark.parametrize("base", ["tied", "untied"])
@pytest.mark.parametrize("kind", OTHERS)
def test_kinds_of_adapters_besides_lora_give_pefts_own_logits_too(
    bases: Path, tmp_path: Path, kind: str, base: str
) -> None:
    config = OTHERS[kind](NAMES[base][2])
    config.task_type = TaskType.CAUSAL_LM
    trained = train_with(AutoModelForCausalLM.from_pretrained(bases / base), tmp_path / "run", config)
    assert_same(pefts_own(bases / base, tmp_path / "run"), trained)
    found, known = ours(tmp_path / "run", tmp_path)
    assert_same(found, trained)
    (checkpoint,) = discover(str(tmp_path / "run")).checkpoints
    assert checkpoint.base is not None
    plain = logits_of(AutoModelForCausalLM.from_pretrained(bases / base))
    assert_same(logits_of(known.of(checkpoint.base, tmp_path).module), plain)


@pytest.mark.parametrize("settings", [{"boft_block_size": 10**12}, {"n_frequency": 10**12}, {"r": 10**12}])
def test_sizes_that_no_tensor_of_the_file_bears_out_are_refused(
    bases: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    train(
        AutoModelForCausalLM.from_pretrained(bases / "tied"), tmp_path / "run", settings_of("plain", "tied")
    )
    path = tmp_path / "run/adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    assert "does not fit its weights" in refusal_of(lambda: ours(tmp_path / "run", tmp_path)).message
