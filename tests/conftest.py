"""What all tests share: a closed environment, the shared data, an offline hub, and tiny models.

The environment is set before any test module is imported, because huggingface_hub and datasets read it when
they are imported. No test can reach the real Hub: `HF_ENDPOINT` is the offline hub, or a closed port.
"""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.buckets.server import S3Server
    from tests.faults.zygote import Zygote

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = (REPOSITORY / os.environ.get("MILEPOST_SHARED", "../shared")).resolve()
NO_HUB = "http://127.0.0.1:9"
OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
TOKENS_AND_CACHES = (
    "HF_TOKEN",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "LMEVAL_LOG_LEVEL",
    "WANDB_API_KEY",
    "WANDB_MODE",
    "WANDB_DIR",
    "TRACKIO_SPACE_ID",
    "TRACKIO_SERVER_URL",
)

hypothesis.settings.register_profile("milepost", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("milepost")


def pytest_configure(config: pytest.Config) -> None:
    """Give this session caches of its own and an offline hub as the only Hub it knows."""
    is_worker = hasattr(config, "workerinput")  # of pytest-xdist; its controller has started the hub
    caches = Path(tempfile.mkdtemp(prefix="milepost-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(caches, ignore_errors=True))
    for name in (*OFFLINE_SWITCHES, *TOKENS_AND_CACHES):
        os.environ.pop(name, None)
    os.environ.update(
        HF_HOME=str(caches / "huggingface"),
        XDG_CACHE_HOME=str(caches / "xdg"),
        MILEPOST_CACHE=str(caches / "milepost"),
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",
        MILEPOST_LANG="en",
        OMP_NUM_THREADS="1",  # tiny models gain nothing from more, and lose much on a busy machine
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
        HF_ENDPOINT=os.environ["HF_ENDPOINT"] if is_worker else NO_HUB,
        TRACKIO_DIR=str(caches / "trackio"),
        NETRC=str(caches / "netrc"),  # where wandb looks for a login
        WANDB_CONFIG_DIR=str(caches / "wandb"),
    )
    if (SHARED / "hub" / "serve.py").is_file() and not is_worker:
        server = _start_hub()
        config.add_cleanup(lambda: _stop(server))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect no garbage meanwhile, nor ever look again at what modules have made: a sixth of the time."""
    gc.disable()
    yield
    gc.enable()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA GPU here"))


def _start_hub() -> subprocess.Popen[str]:
    root = SHARED / "hub"
    server = subprocess.Popen(
        [sys.executable, str(root / "serve.py"), "--root", str(root), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    os.environ["HF_ENDPOINT"] = server.stdout.readline().strip()
    return server


def _stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    server.communicate()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder of real checkpoints and benchmark data.

    It is no part of the repository; MILEPOST_REQUIRE_SHARED turns its absence from a skip into a failure.
    """
    if SHARED.is_dir():
        return SHARED
    reason = f"no shared data at {SHARED} (set MILEPOST_SHARED)"
    if os.environ.get("MILEPOST_REQUIRE_SHARED"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def hub(shared: Path) -> str:
    """Address of the offline hub, which is also this process's `HF_ENDPOINT`."""
    return os.environ["HF_ENDPOINT"]


@pytest.fixture(scope="session")
def hub_env(hub: str) -> dict[str, str]:
    """Environment for a child process that uses the offline hub."""
    return dict(os.environ)


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Starts `milepost` in processes of its own, which have its imports already."""
    from tests.faults.zygote import Zygote

    parent = Zygote()
    yield parent
    parent.end()


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of some 100,000 parameters with a byte-level tokenizer, as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    save_tiny_llama(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run of three such models with different weights: checkpoint-10, -20 and -30."""
    folder = tmp_path_factory.mktemp("models") / "tiny-run"
    for step in (10, 20, 30):
        save_tiny_llama(folder / f"checkpoint-{step}", seed=step)
    return folder


def save_tiny_llama(folder: Path, *, seed: int) -> None:
    """Write a random Llama and its tokenizer; weights are large enough that its answers are no near-ties."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat and the dog ran after it"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of whole words, for the 131 tokens of the shared Megatron runs."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = "the a times and say : sat on cat dog rat hen cow pig fox owl mat log hill roof"
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<eos>", *known.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path_factory.mktemp("words")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>").save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server on loopback; `bucket` gives a test an empty bucket of it."""
    from tests.buckets.server import serve

    with serve() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, as this process's environment names it."""
    import s3fs

    from milepost.buckets import bucket_of
    from milepost.store import bucket_files

    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    s3_server.door.requests.clear()
    s3_server.door.refused.clear()
    yield s3_server
    s3_server.door.busy = 0
    bucket_of.cache_clear()
    bucket_files._of_buckets.clear()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The address of an empty bucket."""
    return s3.make_bucket(f"bucket-{secrets.token_hex(4)}")
