"""What is packed is whole and the same every time, and what should not be handed in is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from milepost.api.evaluate import evaluate
from milepost.store import open_folder
from milepost.store.verify import verify
from tests.cli.called import Called, milepost
from tests.run.own_tasks import ANIMALS, PLACES, write_task


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Examples of `fair` come from other docs, of `unfair` from those it scores, of `shared` from a copy."""
    folder = tmp_path_factory.mktemp("tasks")
    docs = [
        {"animal": animal, "places": list(PLACES), "place": number % len(PLACES)}
        for number, animal in enumerate(ANIMALS)
    ]
    others = [{**one, "animal": f"young {one['animal']}"} for one in docs]
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "the {{animal}} sat on the",
        "doc_to_choice": "{{places}}",
        "doc_to_target": "{{place}}",
        "num_fewshot": 2,
    }
    for name, train in (("fair", others), ("shared", docs)):
        data = folder / f"{name}-train.jsonl"
        data.write_text("".join(json.dumps(one) + "\n" for one in train))
        files = {"test": str(folder / f"{name}.jsonl"), "train": str(data)}
        split = {"dataset_kwargs": {"data_files": files}, "fewshot_split": "train"}
        write_task(folder, name, docs, config | split)
    write_task(folder, "unfair", docs, config)
    return folder


@pytest.fixture(scope="module")
def scored(tiny_run: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("scored")
    for name in ("fair", "unfair", "shared"):
        evaluate(tiny_run, name, output_path=out / name, include_path=tasks, steps="10:20")
    return {name: out / name for name in ("fair", "unfair", "shared")}


@pytest.fixture
def results(scored: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(scored["fair"], tmp_path / "results")


def pack(results: Path, output: Path, *arguments: object) -> Called:
    return milepost("pack", results, "-o", output, *arguments)


def refused(called: Called, output: Path) -> str:
    assert called.status == 2, called.err
    assert called.out == ""
    assert [line.split(":")[0] for line in called.said] == ["error", "hint"]
    assert list(output.parent.glob(f"*{output.name}*")) == []
    return called.err


def test_unpacked_it_is_a_results_folder_again(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    assert pack(results, output).status == 0
    with zipfile.ZipFile(output) as archive:
        archive.extractall(tmp_path / "again")
    assert verify(tmp_path / "again").is_sound
    assert milepost("show", tmp_path / "again", "--json").out == milepost("show", results, "--json").out


def test_every_file_is_listed_with_its_size_and_hash(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    said = json.loads(pack(results, output, "--json").out)
    assert said["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    with zipfile.ZipFile(output) as archive:
        manifest = json.loads(archive.read("submission.json"))
        listed = {one["path"]: (one["bytes"], one["sha256"]) for one in manifest["files"]}
        found = {name: archive.read(name) for name in archive.namelist() if name != "submission.json"}
    assert listed == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in found.items()}
    assert [one["checkpoint"] for one in manifest["series"]["tiny-run"]] == ["checkpoint-10", "checkpoint-20"]
    (plan,) = manifest["plans"].values()
    assert plan["tasks"]["fair"]["num_fewshot"] == 2
    assert {figure["task"] for figure in manifest["figures"]} == {"fair"}


def test_a_copy_of_the_folder_gives_the_same_bytes_whatever_its_dates_and_rights(
    results: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(results, tmp_path / "elsewhere" / "copy")
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)
    pack(results, tmp_path / "one.zip")
    pack(copy, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_only_records_are_packed_no_logs_and_nothing_of_this_machines_work(
    results: Path, tmp_path: Path
) -> None:
    (results / "wandb").mkdir()
    (results / "wandb" / "debug.log").write_text("secret")
    pack(results, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        places = {name.split("/")[0] for name in archive.namelist()}
        kinds = {name.split("/")[1] for name in archive.namelist() if name.startswith("store/")}
    assert places == {"milepost.json", "store", "results.csv", "submission.json"}
    assert kinds.isdisjoint({"workers", "leases", "recorded", "quick"})


def test_task_yaml_and_a_patch_go_along(results: Path, tasks: Path, tmp_path: Path) -> None:
    patch = tmp_path / "mend.patch"
    patch.write_text("--- a/tasks/x.yaml\n+++ b/tasks/x.yaml\n@@ -1 +1 @@\n-a\n+b\n")
    called = pack(results, tmp_path / "out.zip", "--task-yaml", tasks / "fair.yaml", "--patch", patch)
    assert called.status == 0
    assert "note" not in called.err
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.read("tasks/fair.yaml") == (tasks / "fair.yaml").read_bytes()
        assert archive.read("patches/mend.patch") == patch.read_bytes()


def test_a_task_that_nobody_else_has_is_noted(results: Path, tmp_path: Path) -> None:
    assert (
        "note: fair is not a task of lm_eval's: pass --task-yaml FILE"
        in pack(results, tmp_path / "out.zip").err
    )


ADDITIONS = {
    "--task-yaml": {
        "task: [a\nb: c\n": "added, line 2",
        "- a\n- b\n": "a mapping",
        "\xff": "not text in UTF-8",
        "task: a\n" + "#" * 1_000_001: "more than 1,000,000",
    },
    "--patch": {
        "hello\n": "changes no file",
        "--- a/x\n+++ b/../../etc/passwd\n": "etc/passwd",
        "--- a/x\n+++ /etc/passwd\n": "/etc/passwd",
    },
}


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [(option, text, said) for option, cases in ADDITIONS.items() for text, said in cases.items()],
    ids=lambda value: str(value)[:20],
)
def test_what_is_added_is_checked(results: Path, tmp_path: Path, option: str, text: str, said: str) -> None:
    added = tmp_path / "added"
    added.write_bytes(text.encode("latin-1"))
    output = tmp_path / "out.zip"
    assert said in refused(pack(results, output, option, added), output)


def test_a_file_to_add_that_is_not_there_is_named(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    assert "/nowhere.yaml" in refused(pack(results, output, "--task-yaml", "/nowhere.yaml"), output)


def test_a_record_that_was_changed_is_refused(results: Path, tmp_path: Path) -> None:
    (metrics, *_) = (results / "store" / "metrics").rglob("*.json")
    metrics.write_bytes(metrics.read_bytes().replace(b"acc", b"bcc", 1))
    output = tmp_path / "out.zip"
    assert f"{metrics.relative_to(results)} is damaged" in refused(pack(results, output), output)


def test_scores_that_are_gone_are_refused(results: Path, tmp_path: Path) -> None:
    (scores, *_) = (results / "store" / "scores").rglob("*.parquet")
    scores.unlink()
    output = tmp_path / "out.zip"
    assert "is missing" in refused(pack(results, output), output)


def test_a_checkpoint_without_figures_is_refused_unless_partial(
    tiny_run: Path, tasks: Path, results: Path, tmp_path: Path
) -> None:
    series = shutil.copytree(tiny_run, tmp_path / "tiny-run")
    (series / "checkpoint-30" / "model.safetensors").write_bytes(b"cut short")
    evaluate(series, "fair", output_path=results, include_path=tasks)
    output = tmp_path / "out.zip"
    assert "tiny-run/checkpoint-30: " in refused(pack(results, output), output)
    called = pack(results, output, "--partial")
    assert called.status == 0
    assert "tiny-run/checkpoint-30: " in called.err


def test_a_folder_without_figures_is_refused(tmp_path: Path) -> None:
    from milepost.store import ResultsFolder

    empty = ResultsFolder.create(tmp_path / "empty").path
    output = tmp_path / "out.zip"
    assert "has no metrics yet" in refused(pack(empty, output), output)
    assert "is not a results folder" in refused(pack(tmp_path, output), output)


def test_too_large_is_refused_with_the_sizes(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    said = refused(pack(results, output, "--max-mb", "0.001"), output)
    assert "more than 0.001 MB; the largest file is " in said


def test_a_run_that_goes_on_is_refused(results: Path, tmp_path: Path) -> None:
    from milepost.store.workers import Worker

    output = tmp_path / "out.zip"
    with Worker(open_folder(results), {}):
        assert "is at work on" in refused(pack(results, output), output)


def test_scored_docs_shown_as_examples_are_refused(scored: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    said = refused(pack(scored["unfair"], output), output)
    assert "unfair: the prompt of doc " in said
    assert "which is scored, with its answer" in said
    assert "fewshot_split" in said
    assert "which is scored" in refused(pack(scored["unfair"], output, "--allow-shared"), output)


def test_docs_that_the_data_has_twice_are_refused_unless_allowed_and_then_listed(
    scored: dict[str, Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.zip"
    assert "--allow-shared" in refused(pack(scored["shared"], output), output)
    called = pack(scored["shared"], output, "--allow-shared")
    assert called.status == 0
    assert "scored docs are among the examples" in called.err
    with zipfile.ZipFile(output) as archive:
        assert json.loads(archive.read("submission.json"))["checks"]["shared"]["shared"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("out.tar", "ends in `.tar`"), ("nowhere/out.zip", "is not a folder"), ("out", "no ending")],
)
def test_a_zip_that_cannot_be_written_is_refused_before_any_work(
    results: Path, tmp_path: Path, name: str, said: str
) -> None:
    assert said in refused(pack(results, tmp_path / name), tmp_path / name)


def test_an_older_zip_stands_when_packing_is_refused(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zip"
    output.write_bytes(b"older")
    assert pack(results, output, "--max-mb", "0.001").status == 2
    assert output.read_bytes() == b"older"
