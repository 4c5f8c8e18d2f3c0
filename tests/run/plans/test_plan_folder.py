"""PlannedTasks saved where lm_eval is, scored where it is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import milepost
from milepost.api.evaluate import save_plan
from milepost.errors import MilepostError
from milepost.run import score_plan
from milepost.store import open_folder
from milepost.store.atomic_files import read_json
from milepost.store.tables import read_made
from tests.cli.called import milepost as call
from tests.run.own_tasks import write_tasks
from tests.without import WITHOUT


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def plan(tiny_run: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan") / "farm"
    save_plan(tiny_run, "farm,prose", folder, include_path=tasks)
    return folder


@pytest.fixture(scope="module")
def usual(tiny_run: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> milepost.Results:
    """The same questions asked as always."""
    out = tmp_path_factory.mktemp("usual") / "out"
    return milepost.evaluate(tiny_run, "farm,prose", include_path=tasks, output_path=out)


def lean(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has torch, transformers, safetensors, numpy and pyarrow and little else."""
    return subprocess.run(
        [sys.executable, "-c", f"{WITHOUT}\n{code}", *map(str, arguments)], capture_output=True, text=True
    )


def scores_in(folder: Path) -> dict[str, bytes]:
    results, found = open_folder(folder), {}
    for path in (folder / "store" / "scores").rglob("*.parquet"):
        loglikelihood, greedy = results.read_scores(path)
        found[f"{path.parents[1].name}/{path.name}"] = loglikelihood.tobytes() + greedy.tobytes()
    return found


ROOMS = ("engine", "plan.plan", "weights", "run.executors.runner", "run.evaluation", "store")
IMPORT_AND_SCORE = "\n".join(
    [
        *(f"import milepost.{room}" for room in ROOMS),
        "import sys",
        "from milepost.run.score_plan import main",
        "from milepost.run.software_versions import versions",
        "print('versions', *versions())",
        "sys.exit(main(sys.argv[1:]))",
    ]
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `lean_run` has its results."""
    return tmp_path_factory.mktemp("scored") / "out"


@pytest.fixture(scope="module")
def lean_run(tiny_run: Path, plan: Path, scored: Path) -> subprocess.CompletedProcess[str]:
    """A machine that only scores."""
    return lean(IMPORT_AND_SCORE, plan, tiny_run, scored)


def test_rooms_that_score_are_imported_without_the_libraries_of_the_others(
    lean_run: subprocess.CompletedProcess[str],
) -> None:
    assert lean_run.returncode == 0, lean_run.stderr
    (versions,) = [line.split() for line in lean_run.stdout.splitlines() if line.startswith("versions")]
    assert "milepost" in versions
    assert "lm_eval" not in versions
    assert "3 scored" in lean_run.stdout


def test_a_saved_plan_and_a_folder_of_weights_become_records_without_lm_eval(
    tiny_run: Path,
    plan: Path,
    usual: milepost.Results,
    lean_run: subprocess.CompletedProcess[str],
    scored: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lean_run.returncode == 0, lean_run.stderr
    assert scores_in(scored) == scores_in(usual.path)
    again = shutil.copytree(scored, tmp_path / "again")  # this process has lm_eval, and its record says so
    assert score_plan.main([str(plan), str(tiny_run), str(again)]) == 0
    assert "3 already scored" in capsys.readouterr().out


def test_weights_without_a_tokenizer_are_taken_to_have_the_one_of_the_plan(
    tiny_run: Path, plan: Path, usual: milepost.Results, tmp_path: Path
) -> None:
    weights = shutil.copytree(tiny_run / "checkpoint-10", tmp_path / "weights")
    for path in weights.glob("tokenizer*"):
        path.unlink()
    assert score_plan.main([str(plan), str(weights), str(tmp_path / "out")]) == 0
    assert scores_in(tmp_path / "out").items() <= scores_in(usual.path).items()


@pytest.mark.parametrize(
    ("break_it", "said"), [("tokenizer", "another tokenizer"), ("context", "context of 256")]
)
def test_a_plan_of_another_model_is_refused_before_anything_is_written(
    tiny_run: Path, plan: Path, tmp_path: Path, break_it: str, said: str
) -> None:
    weights = shutil.copytree(tiny_run / "checkpoint-10", tmp_path / "weights")
    path = weights / ("config.json" if break_it == "context" else "tokenizer.json")
    content = json.loads(path.read_text("utf-8"))
    if break_it == "context":
        content["max_position_embeddings"] = 128
    else:
        content["model"]["merges"].pop()
    path.write_text(json.dumps(content), "utf-8")
    called = call("run", weights, "--plan", plan, "-o", tmp_path / "out")
    assert called.status == 2
    assert said in called.err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_plan_is_told(tiny_run: Path, tmp_path: Path) -> None:
    called = call("run", tiny_run, "--plan", tmp_path, "-o", tmp_path / "out")
    assert (called.status, called.out) == (2, "")
    assert called.said[0].startswith(f"error: {tmp_path} holds no saved plan")


def test_a_plan_is_not_saved_over_other_files(tiny_run: Path, tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(MilepostError, match="something else"):
        save_plan(tiny_run, "where", tmp_path, include_path=tasks)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_plan_asks_is_not_changed_by_options(tiny_run: Path, plan: Path, tmp_path: Path) -> None:
    for options in (["-t", "where"], ["--limit", "2"], ["-f", "3"], ["--quick"]):
        called = call("run", tiny_run, "--plan", plan, "-o", tmp_path / "out", *options)
        assert (called.status, "a saved plan has its own tasks and settings" in called.err) == (2, True)


def test_the_record_says_which_versions_scored(
    lean_run: subprocess.CompletedProcess[str], scored: Path
) -> None:
    import torch
    import transformers

    store = scored / "store"
    told = [read_made(path)["versions"] for path in store.rglob("scores/*/*/*.parquet")]
    told += [read_json(path)["versions"] for path in store.glob("runs/*.json")]
    for versions in told:
        assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]  # a build: +cpu, +cu130
        assert versions["transformers"] == transformers.__version__
        assert "lm_eval" not in versions
