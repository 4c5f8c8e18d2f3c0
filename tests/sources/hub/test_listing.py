"""Runs on the Hub: revisions and sub-folders, what is downloaded, and what happens when it cannot be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.errors import CheckpointError, SourceError, TokenizerError
from milepost.sources import discover, discover_all, fetch, identify, other_branches, tokenizer_location
from milepost.sources.hub.address import HubAddress
from tests.cli.called import milepost
from tests.sources.folders import model, refusal_of

pytestmark = pytest.mark.hub
RUN = "hf://tiny/english-4m"
STEPS = [25, 100, 400, 800, 1200, 1600]


def names(series: Any) -> Any:
    return [one.name for one in series.checkpoints]


class Server:
    """An offline hub of our own, with folders of our own and faults."""

    def __init__(self, shared: Path, tmp_path: Path) -> None:
        self.models = tmp_path / "models"
        self.home = tmp_path / "home"
        self.log = tmp_path / "log.jsonl"
        self._shared = shared
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *faults: str) -> str:
        command = [sys.executable, str(self._shared / "hub" / "serve.py"), "--port", "0"]
        command += ["--root", str(self._shared / "hub"), "--models", str(self.models), "--log", str(self.log)]
        process = subprocess.Popen([*command, *faults], stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def python(self, code: str, *, endpoint: str, **environment: str) -> subprocess.CompletedProcess[Any]:
        """Run code in a process of its own: huggingface_hub reads its settings when it is imported."""
        caches = {"HF_HOME": str(self.home), "MILEPOST_CACHE": str(self.home / "milepost")}
        settings = {"HF_ENDPOINT": endpoint, **caches, **environment}
        return subprocess.run(
            [sys.executable, "-c", PREAMBLE + code],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


PREAMBLE = """
import json, sys
from pathlib import Path
from milepost.errors import MilepostError
from milepost.sources import discover, fetch, identify, is_fetched, tokenizer_location
from milepost.sources.hub import requests as hub_requests
hub_requests.PAUSES_S = (0.01,) * 6
CACHE = Path(__import__("os").environ["HF_HOME"]) / "digests"
def attempt(work):
    try:
        print(work())
    except MilepostError as error:
        print(type(error).__name__, error.message, "| hint:", error.hint)
"""
FETCH = """
(checkpoint,) = discover(SOURCE).checkpoints
attempt(lambda: fetch(checkpoint, CACHE))
"""


@pytest.fixture
def server(shared: Path, tmp_path: Path) -> Iterator[Any]:
    one = Server(shared, tmp_path)
    one.models.mkdir()
    yield one
    one.stop()


def test_a_repository_with_weights_at_its_root_is_one_checkpoint(hub: Path) -> None:
    (one,) = discover(RUN).checkpoints
    assert (one.series, one.name, one.step) == ("english-4m", "main", None)
    assert (one.format, one.size_bytes, one.problem) == ("safetensors", 7878800, None)
    assert one.source == f"{RUN}@main"


def test_a_pattern_over_branches_is_a_run_ordered_by_step(hub: Path) -> None:
    series = discover(f"{RUN}@step-*")
    assert [one.step for one in series.checkpoints] == STEPS
    assert names(series) == [f"step-{step}" for step in STEPS]


def test_branches_given_one_by_one_form_one_series(hub: Path) -> None:
    (series,) = discover_all([f"{RUN}@step-400", f"{RUN}@step-25"])
    assert names(series) == ["step-25", "step-400"]


def test_an_organisation_can_be_left_out(hub: Path) -> None:
    assert discover("hf://english-4m").name == "english-4m"


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        (f"{RUN}@stp-*", "no revision stp-*", "step-25"),
        (f"{RUN}@step-26", "no revision step-26", "step-25"),
        (f"{RUN}/iter_*", "matches no folder", "no folders"),
        ("hf://tiny/nope", "no such repository", "HF_TOKEN"),
        ("hf://openai-community/gpt2", "no weights in the repository", "config.json"),
        ("hf://", "not an address", "hf://org/name"),
        ("hf://a/b/../c", "invalid folder", "hf://org/name"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(hub: Path, source: str, message: str, hint: str) -> None:
    with pytest.raises(SourceError) as refusal:
        discover(source)
    assert message in refusal.value.message
    assert hint in refusal.value.hint


def test_identity_comes_from_the_published_hashes_without_a_download(server: Any, shared: Path) -> None:
    endpoint = server.start()
    code = f"(one,) = discover('{RUN}@step-100').checkpoints\nprint(identify(one, CACHE).model_id)"
    online = server.python(code, endpoint=endpoint).stdout.strip()
    assert not any(request["path"].endswith(".safetensors") for request in server.requests())
    (local,) = discover(str(shared / "hub/models/tiny/english-4m/step-100")).checkpoints
    assert online == identify(local, server.home).model_id


def test_only_the_files_that_are_needed_are_downloaded(server: Any) -> None:
    folder = model(server.models / "own" / "mixed" / "main")
    for name in ("pytorch_model.bin", "optimizer.pt", "modeling_evil.py", "model.fp16.safetensors"):
        (folder / name).write_bytes(b"1")
    model(folder / "original")
    model(folder / "iter_1")
    fetched = server.python(FETCH.replace("SOURCE", "'hf://own/mixed/iter_1'"), endpoint=server.start())
    snapshot = Path(fetched.stdout.strip()).parent
    there = {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if path.is_file()}
    assert there == {"config.json", "iter_1/config.json", "iter_1/model.safetensors"}


def test_whether_there_is_anything_to_download_is_known_beforehand(server: Any) -> None:
    code = (
        f"(one,) = discover('{RUN}@step-25').checkpoints\nprint(is_fetched(one), fetch(one), is_fetched(one))"
    )
    before, _, after = server.python(code, endpoint=server.start()).stdout.split()
    assert (before, after) == ("False", "True")


@pytest.fixture
def subfolders(server: Any) -> Any:
    """A repository whose weights lie in sub-folders, config and tokenizer at the root."""
    root = server.models / "own" / "run" / "main"
    for step in (5, 40):
        folder = model(root / f"iter_{step:07d}", values=bytes([step, 0, 0, 0]))
        for name in ("config.json", "tokenizer.json"):
            shutil.copy(folder / name, root)
            (folder / name).unlink()
    return server


LOOK = """
for source in sys.argv[1:] or ["hf://own/run", "hf://own/run/iter_*", "hf://own/run@main/iter_0000040"]:
    series = discover(source)
    print([(one.name, one.step, one.problem) for one in series.checkpoints])
one = series.checkpoints[0]
root = fetch(one).parent
print(tokenizer_location(one, None) == root, (root / one.name / "model.safetensors").is_file())
print(identify(one, CACHE).model_id)
"""


def test_subfolders_are_checkpoints_and_share_the_config_and_tokenizer_above_them(subfolders: Any) -> None:
    online = subfolders.python(LOOK, endpoint=subfolders.start())
    both = "[('iter_0000005', 5, None), ('iter_0000040', 40, None)]"
    *listed, places, identity = online.stdout.splitlines()
    assert listed == [both, both, "[('iter_0000040', 40, None)]"]
    assert places == "True True"

    look_again = LOOK.replace("sys.argv[1:] or", "['hf://own/run@main/iter_*'] or")
    offline = subfolders.python(look_again, endpoint="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout.splitlines() == ["[('iter_0000040', 40, None)]", "True True", identity]


def test_a_sub_folder_written_as_a_branch_is_answered_with_its_address(server: Any, shared: Path) -> None:
    for step in (25, 400):
        own = server.models / "own" / "nested" / "main" / f"iter_{step:07}"
        shutil.copytree(shared / "hub" / "models" / "tiny" / "english-4m" / f"step-{step}", own)
    endpoint = server.start()
    for wrong, right in (("iter_0000025", "iter_0000025"), ("iter_*", "iter_*")):
        said = server.python(
            f"attempt(lambda: discover('hf://own/nested@{wrong}'))", endpoint=endpoint
        ).stdout
        assert f"hf://own/nested has no branch or tag {wrong}, but sub-folders of that name" in said
        assert f"hint: write hf://own/nested/{right}" in said


def test_a_listed_repository_names_its_other_branches(hub: Path) -> None:
    (whole,) = discover_all([RUN])
    assert other_branches(whole) == [f"step-{step}" for step in STEPS]
    (asked,) = discover_all([f"{RUN}@step-*"])
    assert other_branches(asked) == []
    called = milepost("list", RUN)
    assert "note: hf://tiny/english-4m has other branches: step-25, step-100" in called.err
    assert "hf://tiny/english-4m@*" in called.err


def test_branches_and_tags_that_were_fetched_are_found_offline_by_their_names(server: Any) -> None:
    model(server.models / "own" / "tagged" / "main")
    model(server.models / "own" / "tagged" / "step-7", values=b"\7\0\0\0")
    (server.models / "own" / "tagged" / "tags.json").write_text('{"v-9": "step-7"}')
    code = """
for one in discover("hf://own/tagged@[sv]*").checkpoints:
    print(one.name, one.step, identify(one, CACHE).model_id, fetch(one))
"""
    online = server.python(code, endpoint=server.start())
    assert [line.split()[:2] for line in online.stdout.splitlines()] == [["step-7", "7"], ["v-9", "9"]]
    offline = server.python(code, endpoint="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout == online.stdout


def test_offline_what_is_not_in_the_cache_is_said_so(server: Any) -> None:
    code = f"attempt(lambda: discover('{RUN}'))"
    told = server.python(code, endpoint="http://127.0.0.1:9", HF_HUB_OFFLINE="1").stdout
    assert "not in the local cache" in told
    assert "unset HF_HUB_OFFLINE" in told


def test_a_hub_that_is_down_is_named_without_the_credentials_in_its_address(server: Any) -> None:
    code = f"attempt(lambda: discover('{RUN}'))"
    told = server.python(code, endpoint="http://user:secret@127.0.0.1:9").stdout
    assert told.startswith("SourceError")
    assert "http://127.0.0.1:9" in told
    assert "HF_ENDPOINT" in told
    assert "HF_HUB_OFFLINE" in told
    assert "secret" not in told


def test_a_hub_that_is_busy_is_asked_again(server: Any) -> None:
    faults = ["--status", "503:2:*/refs*", "--status", "429:1:*/tree/*", "--status", "503:1:*.safetensors"]
    code = f"""
one = discover('{RUN}@step-2*').checkpoints[0]
print(one.name, fetch(one, CACHE).is_dir())
"""
    told = server.python(code, endpoint=server.start(*faults))
    assert told.stdout.split() == ["step-25", "True"], told.stderr
    assert {503, 429} <= {request["status"] for request in server.requests()}


def test_a_download_that_is_cut_is_resumed(server: Any) -> None:
    endpoint = server.start("--truncate", "model.safetensors:1000000:2")
    told = server.python(FETCH.replace("SOURCE", f"'{RUN}@step-25'"), endpoint=endpoint)
    folder = Path(told.stdout.strip())
    assert (folder / "model.safetensors").stat().st_size == 7878800, told.stderr


def test_a_download_that_fails_for_good_is_a_failure_of_that_checkpoint_alone(server: Any) -> None:
    endpoint = server.start("--status", "403:1000:*.safetensors")
    told = server.python(FETCH.replace("SOURCE", f"'{RUN}@step-25'"), endpoint=endpoint).stdout
    assert told.startswith(f"CheckpointError {RUN}@step-25 cannot be fetched from {endpoint}")
    assert "403" in told


def test_a_download_that_keeps_arriving_damaged_is_refused_by_its_published_hash(server: Any) -> None:
    endpoint = server.start("--corrupt", "model.safetensors")
    told = server.python(FETCH.replace("SOURCE", f"'{RUN}@step-25'"), endpoint=endpoint).stdout
    assert told.startswith("CheckpointError")
    assert "model.safetensors is damaged" in told
    assert "hint: the download was damaged twice" in told


def test_the_tokenizer_is_taken_from_main_where_a_revision_has_none(server: Any) -> None:
    model(server.models / "own" / "split" / "main")
    folder = model(server.models / "own" / "split" / "step-1")
    (folder / "tokenizer.json").unlink()
    code = """
(one,) = discover("hf://own/split@step-1").checkpoints
print(tokenizer_location(one, None))
"""
    told = Path(server.python(code, endpoint=server.start()).stdout.strip())
    assert (told / "tokenizer.json").is_file()
    assert not (told / "model.safetensors").exists()


def test_a_tokenizer_can_be_named_as_a_folder_or_a_repository(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(tmp_path / "m")
    (checkpoint,) = discover(str(folder)).checkpoints
    assert tokenizer_location(checkpoint, None) == folder
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="has no tokenizer") as refusal:
        tokenizer_location(checkpoint, None)
    assert "--tokenizer" in refusal.value.hint
    for name in ("openai-community/gpt2", "hf://openai-community/gpt2@main", "gpt2"):
        assert (tokenizer_location(checkpoint, name) / "vocab.json").is_file()
    other = model(tmp_path / "other")
    assert tokenizer_location(checkpoint, str(other)) == other
    monkeypatch.chdir(tmp_path)
    for name in ("", "\0", "./nope", str(tmp_path), "tiny/nope", "hf://tiny/english-4m@nope", "m"):
        with pytest.raises(TokenizerError):
            tokenizer_location(checkpoint, name)


def test_the_tokenizer_of_the_folder_above_serves_a_local_checkpoint(tmp_path: Path) -> None:
    folder = model(tmp_path / "run" / "step-1")
    (folder / "tokenizer.json").rename(tmp_path / "run" / "tokenizer.json")
    (checkpoint,) = discover(str(folder)).checkpoints
    assert tokenizer_location(checkpoint, None) == tmp_path / "run"


def test_a_checkpoint_with_a_problem_is_not_fetched(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"")
    (checkpoint,) = discover(str(folder)).checkpoints
    with pytest.raises(CheckpointError, match="is empty"):
        fetch(checkpoint)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://gpt2", ("gpt2", None, "")),
        ("hf://org/name", ("org/name", None, "")),
        ("hf://org/name/", ("org/name", None, "")),
        ("hf://org/name@step-*", ("org/name", "step-*", "")),
        ("hf://gpt2@main/sub", ("gpt2", "main", "sub")),
        ("hf://org/name/iter_*", ("org/name", None, "iter_*")),
        ("hf://org/name@rev/a/b", ("org/name", "rev", "a/b")),
        ("hf://org/name@refs/pr/1/a", ("org/name", "refs/pr/1", "a")),
        ("hf://org/name@feature%2Fx", ("org/name", "feature/x", "")),
    ],
)
def test_an_address_is_read_as_huggingface_hub_writes_it(text: str, parts: Any) -> None:
    address = HubAddress.parse(text)
    assert (address.repo_id, address.revision, address.subfolder) == parts
    assert HubAddress.parse(str(address)) == address


@given(st.text(max_size=40).map("hf://".__add__))
def test_any_address_is_read_or_refused(text: str) -> None:
    refusal = refusal_of(lambda: HubAddress.parse(text))
    if refusal is not None:
        assert refusal.message.isprintable()
        return
    address = HubAddress.parse(text)
    assert ".." not in address.subfolder.split("/")
    assert HubAddress.parse(str(address)) == address


READ = """
from milepost.weights import read_checkpoint, read_config
for checkpoint in discover(SOURCE).checkpoints:
    from milepost.sources import fetch_config
    config = read_config(fetch_config(checkpoint), checkpoint.format)
    sums = {file.name: file.sha256 for file in identify(checkpoint, CACHE).files}
    weights = read_checkpoint(fetch(checkpoint, CACHE), checkpoint.format, sums)
    print(checkpoint.name, checkpoint.step, checkpoint.format, config.num_hidden_layers, len(weights.tensors))
"""


@pytest.mark.slow
def test_checkpoints_of_megatron_are_read_from_subfolders_of_a_repository(server: Any, shared: Path) -> None:
    runs = {"llama_legacy_pp2_vpp2": "megatron", "gpt2_torch_dist_tp2_pp2": "megatron-dist"}
    for run in runs:
        shutil.copytree(shared / "checkpoints/megatron" / run, server.models / "own/mega/main" / run)
    each = f"for SOURCE in {[f'hf://own/mega/{run}' for run in runs]}:" + READ.replace("\n", "\n    ")
    done = server.python(each, endpoint=server.start())
    assert done.returncode == 0, done.stderr[-1500:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:4] for line in lines] == [
        [f"iter_{step:07d}", str(step), format, "4"] for format in runs.values() for step in (20, 40, 60)
    ]
    assert all(int(line[4]) > 10 for line in lines)
