"""Five jobs as users do them, from the first command to the last picture; offline, on real data."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pexpect
import pytest

from milepost.demo.pruning import prune_copy
from tests.conftest import save_tiny_llama
from tests.run.own_tasks import write_tasks
from tests.stories.terminal import Terminal, is_picture, succeeded

pytestmark = [pytest.mark.slow, pytest.mark.hub]


def test_a_series_from_a_mirror(hub: str, tmp_path: Path) -> None:
    """The user has set HF_ENDPOINT, looks what is there, tries it, and draws the curves."""
    user = Terminal(tmp_path, HF_ENDPOINT=hub)
    listed = succeeded(user.types("milepost list 'hf://tiny/english-4m@step-*'"))
    assert [step for step in ("25", "100", "400", "800", "1200", "1600") if f"step-{step} " in listed] != []
    run = "milepost run 'hf://tiny/english-4m@step-*' --steps 400:1600:400 -t arc_easy,piqa -L 20 -o results"
    ran = succeeded(user.types(run))
    assert "english-4m step-1600: scored" in ran
    assert "results in results" in ran
    again = succeeded(user.types(run))
    assert "already scored" in again
    shown = succeeded(user.types("milepost show results"))
    assert "arc_easy" in shown
    assert "chance" in shown
    succeeded(user.types("milepost plot results -o curve.png"))
    assert is_picture(tmp_path / "curve.png")


def test_27_sub_folders_on_mmlu(hub: str, tmp_path: Path) -> None:
    """A run of 27 folders: a quick test says how long it takes, then all of it, subjects as a heat map."""
    for step in range(2000, 56_000, 2000):
        save_tiny_llama(tmp_path / "my-500m" / f"iter_{step:07}", seed=step)
    user = Terminal(tmp_path, HF_ENDPOINT=hub)
    asked = "-t mmlu_anatomy,mmlu_virology,mmlu_astronomy"
    quick = succeeded(user.types(f"milepost run my-500m {asked} --quick --yes -o tried"))
    assert "the full job, 27 checkpoints" in quick
    ran = succeeded(user.types(f"milepost run my-500m {asked} -L 10 -o results"))
    assert ran.count(": scored") == 27
    assert "27 checkpoints done" not in ran
    told = succeeded(user.types("milepost status results"))
    assert "27 of 27 checkpoints done" in told
    succeeded(user.types("milepost plot results --kind heatmap --all -o subjects.png"))
    assert is_picture(tmp_path / "subjects.png")
    asked_about = succeeded(user.types("milepost questions results -t mmlu_anatomy -n 1"))
    assert "mmlu_anatomy, doc " in asked_about


def test_the_original_against_the_pruned_model(hub: str, shared: Path, tmp_path: Path) -> None:
    original = shared / "hub" / "models" / "tiny" / "english-4m" / "step-1600"
    prune_copy(original, tmp_path / "pruned")
    user = Terminal(tmp_path, HF_ENDPOINT=hub)
    compared = succeeded(
        user.types(
            f"milepost compare {original} pruned -t arc_easy,piqa -L 40 --no-perplexity --yes -o comparison"
        )
    )
    assert "2:4" in compared
    assert "arc_easy" in compared
    page = (tmp_path / "comparison" / "comparison_report.html").read_text()
    assert "vegaEmbed" in page
    again = succeeded(
        user.types(f"milepost compare {original} pruned -t arc_easy,piqa -L 40 --no-perplexity -o comparison")
    )
    assert "wrote comparison/comparison_report.html" in again


def test_a_megatron_run_is_watched_while_it_saves(shared: Path, words: Path, tmp_path: Path) -> None:
    saved = shared / "checkpoints" / "megatron" / "llama_legacy_tp1"
    tasks = write_tasks(tmp_path / "tasks")
    run = tmp_path / "run"
    user = Terminal(tmp_path)
    child = user.begins(
        f"milepost watch run -t where,who --include-path {tasks} --tokenizer {words} --until 60 --settle 1s"
        " --plot curve.png -o results"
    )
    child.expect("waiting:")
    for iteration in (20, 40, 60):
        shutil.copytree(saved / f"iter_{iteration:07}", run / f"iter_{iteration:07}")
        (run / "latest_checkpointed_iteration.txt").write_text(str(iteration))
        child.expect(f"iter_{iteration:07}: where acc ")
        time.sleep(0.1)
    child.expect(pexpect.EOF)
    succeeded(user.ends(child))
    assert is_picture(tmp_path / "curve.png")
    shown = succeeded(user.types("milepost show results"))
    assert [step for step in ("20", "40", "60") if f" {step} " in shown] == ["20", "40", "60"]


def test_two_perplexities_of_one_text_are_explained(hub: str, shared: Path, tmp_path: Path) -> None:
    model = shared / "hub" / "models" / "tiny" / "english-4m" / "step-1600"
    (tmp_path / "text.txt").write_text("The cat sat on the mat, and the dog ran after it.\n\n" * 60)
    user = Terminal(tmp_path, HF_ENDPOINT=hub)
    told = succeeded(
        user.types(f"milepost ppl {model} --text text.txt --seqlen 128 --yes --plot ppl.png -o results")
    )
    assert "fixed windows" in told
    assert "per word" in told
    assert is_picture(tmp_path / "ppl.png")
