"""With torch, transformers, safetensors, numpy and pyarrow alone, a plan and weights become records."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
from pathlib import Path

import pytest

from milepost.api.evaluate import evaluate, save_plan
from milepost.store import open_folder
from tests.minimal import make_environment
from tests.run.own_tasks import write_tasks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCORING_ROOMS = ("engine", "plan", "store", "weights", "sources")
LACKS = {
    "lm_eval",
    "datasets",
    "evaluate",
    "duckdb",
    "altair",
    "pandas",
    "scipy",
    "peft",
    "orjson",
    "watchfiles",
}

IMPORT_EACH = """
import importlib, json, sys
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failed[name] = str(error)
print(json.dumps(failed))
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment without any other library."""
    return make_environment(tmp_path_factory.mktemp("minimal") / "venv")


def run(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    return subprocess.run(
        [str(python), *map(str, arguments)],
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )


def scores_in(folder: Path) -> dict[str, bytes]:
    results, found = open_folder(folder), {}
    for path in (folder / "store" / "scores").rglob("*.parquet"):
        loglikelihood, greedy = results.read_scores(path)
        found[f"{path.parents[1].name}/{path.name}"] = loglikelihood.tobytes() + greedy.tobytes()
    return found


def test_the_environment_really_lacks_the_other_libraries(python: Path) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    there = set(json.loads(run(python, "-c", code).stdout))
    assert {"torch", "transformers", "safetensors", "numpy", "pyarrow"} <= there
    assert not there & LACKS
    assert "milepost" not in there


def test_every_module_that_scoring_may_need_is_imported_there(python: Path) -> None:
    names = [
        module.name
        for room in SCORING_ROOMS
        for module in pkgutil.walk_packages([str(ROOT / "src" / "milepost" / room)], f"milepost.{room}.")
        if not module.name.startswith("milepost.engine.server")  # it scores nothing, it asks a server
    ]
    assert len(names) > 50
    done = run(python, "-c", IMPORT_EACH, *names)
    assert json.loads(done.stdout) == {}, done.stderr


def test_records_are_those_of_the_usual_run(python: Path, tiny_run: Path, tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks")
    save_plan(tiny_run, "farm,prose", tmp_path / "plan", include_path=tasks)
    usual = evaluate(tiny_run, "farm,prose", include_path=tasks, output_path=tmp_path / "usual")
    done = run(python, "-m", "milepost.run.score_plan", tmp_path / "plan", tiny_run, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "3 scored" in done.stdout
    found = scores_in(tmp_path / "out")
    assert len(found) >= 6
    assert found == scores_in(usual.path)


def test_the_gpu_benchmarks_run_there_and_say_what_is_missing(python: Path, tmp_path: Path) -> None:
    for script in ("gpu.py", "gpu_ratio.py"):
        done = run(python, ROOT / "benchmarks" / script, "--small", "--out", tmp_path)
        assert done.returncode == 0, done.stderr[-1500:]
    kept = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines()]
    assert not any({"lm_eval", "datasets"} & set(one["versions"]) for one in kept)
    rows = {one["script"]: one["row"] for one in kept}
    assert rows["gpu"]["checkpoints scored"] == 3
    assert rows["gpu_ratio"]["our s"] > 0
    assert "is not installed here" in rows["gpu_ratio"]["lm_eval"]
