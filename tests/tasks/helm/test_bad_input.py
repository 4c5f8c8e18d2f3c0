"""What is wrong with entries and data, in one line and before any work."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import types
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("helm", reason="HELM is not installed here; `make test-helm` has it")

import milepost
from milepost.errors import MilepostError, MissingDataError, TaskError, TokenizerError
from milepost.tasks.helm import installation
from milepost.tasks.question_source import ModelTraits
from milepost.tasks.registry import check_settings
from milepost.tasks.settings import TaskSettings
from milepost.text.language import speaking

from .conftest import MMLU


def no_network(*_: object) -> None:
    raise urllib.error.URLError("Name or service not known")


def refused(source: Path, data: Path, out: Path, *helm: str) -> str:
    with pytest.raises(MilepostError) as failure:
        milepost.evaluate(source, helm=helm, max_eval_instances=2, helm_data=data, output_path=out)
    assert not (out / "store").exists()
    return failure.value.one_line


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("mmlux:subject=anatomy", "HELM knows no run entry 'mmlux' (nearest: mmlu"),
        ("mmlu:subject", "'subject' is not key=value"),
        (
            "mmlu:subject=anatomy,model=openai/gpt2",
            "leave out model=openai/gpt2: the checkpoints are the models",
        ),
        ("mmlu:subjekt=anatomy", "HELM refuses the entry 'mmlu:subjekt=anatomy'"),
        (
            "mmlu:subject=anatomy,data_augmentation=canonicl",
            "HELM knows no data_augmentation 'canonicl' (nearest: canonical",
        ),
        ("mmlu:subject=anatomi", "check the entry's arguments: HELM finds nothing for them in"),
        ("wildbench:subset=v2", "cannot be run here"),
        ("omni_math", "lets another model judge"),
    ],
)
def test_an_entry_that_cannot_be_run(
    entry: str, said: str, run_folder: Path, helm_data: Path, helm_environment: object, tmp_path: Path
) -> None:
    assert said in refused(run_folder, helm_data, tmp_path / "out", entry)


@pytest.mark.parametrize("entry", ["mmlux", "mmlu:subjekt=anatomy", "omni_math"])
def test_an_entry_is_refused_before_any_checkpoint_and_any_data_are_looked_for(
    entry: str, helm_data: Path, helm_environment: object
) -> None:
    with pytest.raises(TaskError, match=entry):
        check_settings(TaskSettings(names=("arc_easy",), helm=(entry,), helm_data=helm_data))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('entries: [\n  {description: "boolq", priority: 1}\n  {{\n]\n', "entries.conf, line "),
        ("runs: []\n", "no list named entries"),
        (
            'entries: [\n {priority: 1, describe: "boolq"}\n]\n',
            "entries.conf, line 2: entry 1 has no description",
        ),
        ('entries: [{description: "boolq", groups: "qa"}]\n', "the groups of entry 1 are no list"),
        ('entries: [\n {description: "boolq:model=text"}\n]\n', "entries.conf, line 2"),
    ],
)
def test_a_file_of_entries_that_is_not_right(
    text: str, said: str, run_folder: Path, helm_data: Path, helm_environment: object, tmp_path: Path
) -> None:
    path = tmp_path / "entries.conf"
    path.write_text(text)
    assert said in refused(run_folder, helm_data, tmp_path / "out", str(path))


@pytest.mark.parametrize(
    ("entry", "url", "file"),
    [
        (
            "boolq",
            "https://huggingface.co/datasets/stanford-crfm/helm-scenarios/resolve/main/boolq/train.jsonl",
            "scenarios/boolq/data/train",
        ),
        ("gsm", "https://raw.githubusercontent.com/openai/grade-school-math", "scenarios/gsm/gsm_data_train"),
        (
            "legalbench:subset=abercrombie",  # its prompts are read while the run spec is made
            "https://raw.githubusercontent.com/HazyResearch/legalbench/main/helm_prompt_settings.jsonl",
            "scenarios/legalbench/prompt_construction_settings.json",
        ),
    ],
)
def test_data_that_cannot_be_downloaded_are_named_with_their_address_and_place(
    entry: str,
    url: str,
    file: str,
    run_folder: Path,
    helm_environment: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(urllib.request, "urlretrieve", no_network)
    said = refused(run_folder, tmp_path / "nothing", tmp_path / "out", entry)
    assert said.startswith(f"{entry}: its data cannot be had from {url}")
    assert f"put it at {tmp_path}/nothing/{file}" in said
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("augmentation", "url", "file"),
    [
        (
            "canonical",
            "dialect_perturbation/SAE_to_AAVE_mapping.json",
            "perturbations/dialect/SAE_to_AAVE_mapping.json",
        ),
        (
            "person_name_first_deterministic",
            "person_name_perturbation/person_names.txt",
            "perturbations/person_name/data/person_names.txt",
        ),
    ],
)
def test_what_a_perturbation_reads_is_named_with_its_address_and_place(
    augmentation: str,
    url: str,
    file: str,
    run_folder: Path,
    helm_data: Path,
    helm_environment: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(urllib.request, "urlretrieve", no_network)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    (data / "scenarios").mkdir(parents=True)
    (data / "scenarios" / "mmlu").symlink_to(helm_data / "scenarios" / "mmlu")
    entry = f"mmlu:subject=anatomy,data_augmentation={augmentation}"
    said = refused(run_folder, data, tmp_path / "out", entry)
    address = f"https://storage.googleapis.com/crfm-helm-public/source_datasets/augmentations/{url}"
    assert said.startswith(f"{entry}: its data cannot be had from {address}")
    assert f"put it at {data}/{file}" in said
    assert not (tmp_path / "benchmark_output").exists()


def test_a_package_of_helms_that_is_not_installed_is_named(
    run_folder: Path, helm_environment: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    said = refused(run_folder, tmp_path / "nothing", tmp_path / "out", "med_qa")
    assert said.startswith("med_qa: Optional dependency gdown is not installed")


def test_another_version_than_the_tested_one_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installation, "_version", lambda: "0.5.99")
    monkeypatch.setattr(logging.getLogger("milepost"), "propagate", True)
    installation.helm_version.cache_clear()
    try:
        assert installation.helm_version() == "0.5.99"
    finally:
        installation.helm_version.cache_clear()
    assert "crfm-helm 0.5.99 is installed; Milepost is tested with 0.5.16" in caplog.text


def test_a_tokenizer_that_helm_cannot_use_is_refused_by_name() -> None:
    from milepost.tasks.helm.stand_in import StandIn

    class Wordless:
        eos_token = bos_token = None
        model_max_length = 64

        def encode(self, text: str, **_: object) -> list[int]:
            raise NotImplementedError("no encode here")

    with pytest.raises(TokenizerError, match="HELM cannot use this tokenizer: no encode here"):
        StandIn.register(ModelTraits(load_tokenizer=Wordless, tokenizer_id="1" * 32, max_length=64))


def test_the_entries_of_the_suite_are_known_to_helm_and_can_be_run(
    run_folder: Path, helm_data: Path, helm_environment: object
) -> None:
    from transformers import AutoTokenizer

    from milepost.tasks.helm.entries import read_entries
    from milepost.tasks.helm.run_specs import Overrides, make_runs
    from milepost.tasks.helm.stand_in import StandIn
    from milepost.tasks.suites import load_suite

    # HELM downloads the prompts of legalbench while it makes the run spec, and tests have no network.
    entries = [entry for entry in load_suite("helm-lite").helm if not entry.startswith("legalbench")]
    tokenizer = AutoTokenizer.from_pretrained(run_folder / "step-400")
    models = ModelTraits(load_tokenizer=lambda: tokenizer, tokenizer_id="0" * 32, max_length=1024)
    stand_in = StandIn.register(models)
    overrides = Overrides(max_eval_instances=10)
    for entry in read_entries(entries):
        (run,) = make_runs(entry, stand_in.name, overrides, helm_data).values()
        assert run.run_spec.adapter_spec.max_eval_instances == 10


def test_data_that_another_program_fails_to_download_are_named_too(
    run_folder: Path, helm_environment: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gdown", types.ModuleType("gdown"))
    (tmp_path / "bin").mkdir()
    failing = tmp_path / "bin" / "gdown"
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{failing.parent}:{os.environ['PATH']}")
    said = refused(run_folder, tmp_path / "nothing", tmp_path / "out", "med_qa")
    assert said.startswith("med_qa: its data cannot be had from https://drive.google.com/")
    assert f"put it at {tmp_path}/nothing/scenarios/med_qa/" in said
    assert "--skip-missing-data leaves the entry out" in said


def test_a_file_is_no_folder_for_helms_data(
    run_folder: Path, helm_environment: object, tmp_path: Path
) -> None:
    data = tmp_path / "data.conf"
    data.write_text("")
    assert refused(run_folder, data, tmp_path / "out", "boolq").startswith(
        f"--helm-data {data} is not a folder"
    )


def test_what_nltk_cannot_download_is_named_before_any_work_and_only_where_metrics_need_it(
    helm_data: Path,
    helm_environment: object,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    nltk = importlib.import_module("nltk")
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(
        nltk.downloader.Downloader,
        "incr_download",
        lambda *_: [nltk.downloader.ErrorMessage(0, "no network")],
    )
    entry = "narrative_qa:max_train_instances=2"
    with pytest.raises(MissingDataError) as failure:
        check_settings(TaskSettings(helm=(entry,), helm_data=helm_data))
    assert failure.value.message == (
        f"{entry}: what its metrics need cannot be had from "
        "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/tokenizers/punkt_tab.zip"
    )
    assert "nltk_data/tokenizers" in failure.value.hint
    check_settings(TaskSettings(helm=(entry,), helm_data=helm_data, skip_missing_data=True))
    check_settings(TaskSettings(helm=(MMLU,), helm_data=helm_data))
    assert capfd.readouterr().err == ""


def test_a_model_of_spacys_that_cannot_be_downloaded_is_named(
    run_folder: Path,
    helm_data: Path,
    helm_environment: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spacy = importlib.import_module("spacy.cli")

    def download(name: str) -> None:
        raise SystemExit(1)  # as spaCy does where the server has no list of models

    monkeypatch.setattr(spacy, "download", download)
    said = refused(run_folder, helm_data, tmp_path / "out", f"{MMLU},data_augmentation=robustness_all")
    assert "its data cannot be had from https://github.com/explosion/spacy-models/releases" in said
    assert "python -m spacy download en_core_web_sm" in said


def test_options_of_lm_evals_tasks_are_refused_where_only_entries_are_asked(
    helm_data: Path, helm_environment: object
) -> None:
    options: dict[str, Any] = {"helm": (MMLU,), "helm_data": helm_data, "num_fewshot": 3}
    with pytest.raises(TaskError, match="--num-fewshot is for lm_eval's tasks"):
        check_settings(TaskSettings(**options))
    check_settings(TaskSettings(**options, names=("arc_easy",)))


def test_what_is_wrong_with_an_entry_is_said_in_the_readers_language(
    run_folder: Path, helm_data: Path, helm_environment: object, tmp_path: Path
) -> None:
    with speaking("zh-CN"), pytest.raises(TaskError) as failure:
        check_settings(TaskSettings(helm=("mmlux",), helm_data=helm_data))
    with speaking("zh-CN"):
        assert failure.value.for_reader() == (
            "HELM 没有运行条目 'mmlux'",
            "最接近的：mmlu, mmmlu, mmmu, mmlu_pro, mutox",
        )
