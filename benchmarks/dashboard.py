"""Measure the dashboard: start, pages, search, memory on 1.1 million docs; a heat map, new shards, readers.

    python benchmarks/dashboard.py FOLDER [--only start pages heat live readers] [--rounds 3]

FOLDER is one that `records.py` made, or is made now. `pages` asks a server of its own for each page: at once
after the start, again once a record has changed, and again as it is then; lastly one server for all pages is
asked for words and for its memory. CPU seconds are those of the server while it makes the answer.
`heat` draws 27 checkpoints x 60 tasks in Chromium. `live` has four pages of a run open in Chromium, with the
newest shard not yet there, and puts it in its place: seconds until each page, not loaded again, counts it.
`readers` takes turns: a run on a folder that nobody looks at, and the same run while 200 readers have the
overview open and ask for it again whenever metrics are new, as the script of the page does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from common import markdown, offline_hub, write_result
from records import make

from milepost.store import ResultsFolder
from milepost.store.atomic_files import write_json
from milepost.store.metrics_record import MetricsRecord, metric_row
from milepost.store.records import RunRecord, write_record

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = (
    "overview",
    "curves",
    "subjects",
    "questions",
    "questions?kind=forgotten&page=3",
    "question?doc=5",
    "leaderboard",
    "compare",
    "signal",
    "perplexity",
    "runs",
)
WORDS = (
    "subject_12",
    "question 40",
    "QUESTION 7",
    "none",
    "the first answer",
    "question 1234",
    "nothing at all",
)
FIRST_SEARCH = "questions?search=subject"
COLUMNS = ("first s", "first CPU s", "changed s", "changed CPU s", "kept s", "MiB")
"""Seconds of the first answer of a server, of the first once a record has changed, and of the next."""
QUIET_S = 2.0
"""Seconds in which a server sees a change, and reads in the background what later pages need."""
N_CHECKPOINTS, N_TASKS = 27, 60
N_READERS = 200
SOURCE = "hf://tiny/english-4m"
TASKS = "mmlu_anatomy,mmlu_virology,mmlu_prehistory,mmlu_astronomy"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", type=int, default=14_042, help="where the folder is made now")
    options = parser.parse_args(arguments)
    if not options.results.exists():
        make(options.results, n_docs=options.docs)
    for name in options.only:  # each has columns of its own, and is kept if a later one fails
        table = MEASURES[name](options)
        print("\n".join(markdown(table)), flush=True)
        print(write_result("dashboard", name, {}, table), flush=True)


class Served:
    """A dashboard in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def get(self, path: str) -> float:
        """Return the seconds until an answer is complete."""
        headers = {"accept": "text/html", "accept-encoding": "gzip"}
        start = time.perf_counter()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers)) as answer:
            answer.read()
        return time.perf_counter() - start

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_mib(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    @property
    def has_torch(self) -> bool:
        return "libtorch" in Path(f"/proc/{self.process.pid}/maps").read_text()


@contextmanager
def served(results: Path) -> Iterator[Served]:
    command = [sys.executable, "-m", "milepost", "serve", str(results), "--port", "0", "--json", "--no-open"]
    # As on a user's machine: modules are compiled once, not at each start.
    environment = {name: own for name, own in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdout is not None
    said = ""
    while not said.rstrip().endswith("}"):
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the server did not start")
        said += line
    try:
        yield Served(process, json.loads(said)["url"])
    finally:
        process.terminate()
        process.communicate()


def start(options: argparse.Namespace) -> list[dict[str, Any]]:
    each_s = []
    with served(options.results):
        pass  # modules are compiled, files are in memory
    for _ in range(options.rounds):
        with served(options.results) as dashboard:
            dashboard.get("static/style.css")
            each_s.append(dashboard.cpu_s)
            if dashboard.has_torch:
                raise SystemExit("torch was imported")
    return [_figures("start, until the first answer", **{"first CPU s": each_s})]


def _figures(what: str, **columns: list[float]) -> dict[str, Any]:
    """Return a row of the table: the median of each column, and all of its values."""
    medians = {name: median(columns[name]) if name in columns else "" for name in COLUMNS}
    return {"what": what, **medians, "each": columns}


def pages(options: argparse.Namespace) -> list[dict[str, Any]]:
    record = next((options.results / "store" / "checkpoints").rglob("*.json"))
    rows = []
    for page in (*PAGES, FIRST_SEARCH):
        taken: dict[str, list[float]] = {name: [] for name in COLUMNS[:-1]}
        for _ in range(options.rounds):
            with served(options.results) as dashboard:
                for when in ("first", "changed"):
                    before = dashboard.cpu_s
                    taken[f"{when} s"].append(dashboard.get(page))
                    taken[f"{when} CPU s"].append(dashboard.cpu_s - before)
                    record.touch()
                    time.sleep(QUIET_S)
                dashboard.get(page)
                taken["kept s"].append(dashboard.get(page))
        rows.append(_figures(page, **taken))
    with served(options.results) as dashboard:
        for page in PAGES:
            dashboard.get(page)
        time.sleep(QUIET_S)
        found = [dashboard.get("questions?search=" + word.replace(" ", "+")) for word in WORDS]
        rows.append(_figures("search for other words", **{"first s": found}))
        rows.append(_figures("highest memory after all of these", MiB=[dashboard.peak_mib]))
        if dashboard.has_torch:
            raise SystemExit("torch was imported")
    return rows


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser without a window."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def heat(options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="milepost-heat-") as folder:
        _make_heat_results(Path(folder) / "results")
        with served(Path(folder) / "results") as dashboard, chromium() as browser:
            dashboard.get("static/vega.js")
            each_s, drawing_s = [], []
            for _ in range(options.rounds):
                page = browser.new_page()
                began = time.perf_counter()
                page.goto(f"{dashboard.url}subjects", wait_until="commit")
                page.wait_for_selector(".plot svg.marks, .plot canvas", state="attached")
                each_s.append(time.perf_counter() - began)
                drawing_s.append(page.evaluate(DRAWN) / 1000)
                page.close()
    size = f"heat map, {N_CHECKPOINTS} x {N_TASKS}"
    return [
        _figures(f"{size}: from the click to the picture", **{"first s": each_s}),
        _figures(f"{size}: once the page is there", **{"first s": drawing_s}),
    ]


DRAWN = "performance.now() - performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


def _make_heat_results(path: Path) -> None:
    results = ResultsFolder.create(path)
    names = []
    for i in range(N_CHECKPOINTS):
        step = 2000 * (i + 1)
        names.append(f"step-{step}")
        model = f"{i:032x}"
        write_json(
            results.checkpoint_path("run", names[-1]),
            {
                "series": "run",
                "checkpoint": names[-1],
                "step": step,
                "model_id": model,
                "numerics": "float32",
            },
        )
        of_tasks = [
            _row(f"group_subject_{j:02}", 0.25 + 0.4 * i * j / 1600, ["group"]) for j in range(N_TASKS)
        ]
        rows = (_row("group", 0.25 + 0.2 * i / N_CHECKPOINTS, [], kind="group"), *of_tasks)
        write_record(results.metrics_path("heat", model, "float32"), MetricsRecord(rows=rows))
    settings = {"asked": {"names": ["group"]}, "tasks": {}, "versions": {}}
    write_json(results.plan_path("heat"), {"plan_id": "heat", "settings": settings, "tasks": []})
    results.write_run(RunRecord(plan_id="heat", series=("run",), checkpoints={"run": tuple(names)}))


def _row(task: str, value: float, parents: list[str], kind: str = "task") -> Any:
    of_metric = {"metric": "acc", "filter": "none", "value": value, "stderr": 0.02, "n": 240, "chance": 0.25}
    shown = {"task": task, "alias": task, "kind": kind, "parents": parents, "higher_is_better": True}
    return metric_row({**of_metric, **shown, "num_fewshot": 0}, "made")


def live(options: argparse.Namespace) -> list[dict[str, Any]]:
    with offline_hub(), tempfile.TemporaryDirectory(prefix="milepost-live-") as folder:
        results = Path(folder) / "results"
        _run(results)
        shards = list((results / "store" / "scores").rglob("*.parquet"))
        newest, kept = max(shards, key=lambda path: path.stat().st_mtime), Path(folder) / "shard"
        for metrics in (results / "store" / "metrics").rglob("*.json"):  # the checkpoint is under way again
            metrics.unlink()
        each_s: dict[str, list[float]] = {page: [] for page in LIVE_PAGES}
        with chromium() as browser:
            for _ in range(options.rounds):
                newest.rename(kept)
                with served(results) as dashboard:
                    opened = {page: browser.new_page() for page in LIVE_PAGES}
                    for name, page in opened.items():
                        page.goto(f"{dashboard.url}{name}")
                        page.wait_for_function(COUNTED, arg=[len(shards) - 1, len(shards)])
                        page.evaluate("window.stays = true")
                    time.sleep(QUIET_S)
                    began = time.perf_counter()
                    kept.rename(newest)
                    for name, page in opened.items():
                        page.wait_for_function(COUNTED, arg=[len(shards), len(shards)])
                        each_s[name].append(time.perf_counter() - began)
                        if not page.evaluate("window.stays"):
                            raise SystemExit(f"{name} was loaded again")
                        page.close()
    return [
        _figures(f"a new shard is on {name}, four pages open", **{"changed s": each})
        for name, each in each_s.items()
    ]


LIVE_PAGES = ("overview", "curves", "questions", "runs")
COUNTED = "([done, all]) => document.querySelector('#progress')?.textContent.includes(`${done}/${all}`)"


def readers(options: argparse.Namespace) -> list[dict[str, Any]]:
    alone, watched, counts, server_s = [], [], [], []
    with offline_hub(), tempfile.TemporaryDirectory(prefix="milepost-readers-") as folder:
        _run(Path(folder) / "warm")
        for i in range(options.rounds):
            alone.append(_run(Path(folder) / f"alone-{i}"))
            results = Path(folder) / f"watched-{i}"
            ResultsFolder.create(results)
            with served(results) as dashboard:
                crowd = subprocess.Popen(
                    [sys.executable, __file__, CROWD, dashboard.url], stdout=subprocess.PIPE, text=True
                )
                assert crowd.stdout is not None
                crowd.stdout.readline()  # all are there
                before = dashboard.cpu_s
                watched.append(_run(results))
                server_s.append(dashboard.cpu_s - before)
                crowd.terminate()
                counts.append(json.loads(crowd.communicate()[0]))
    errors = sum(each["errors"] for each in counts)
    row: dict[str, Any] = {"what": f"a run alone and with {N_READERS} readers"}
    for place, unit in enumerate(("wall", "CPU")):
        before, after = (median(each[place] for each in own) for own in (alone, watched))
        row |= {f"alone {unit} s": before, f"watched {unit} s": after, f"{unit} ratio": after / before}
    row |= {
        "server CPU s": median(server_s),
        "server cores": median(server_s) / row["watched wall s"],
    }
    row |= {"events": sum(each["events"] for each in counts), "pages": sum(each["pages"] for each in counts)}
    return [row | {"errors": errors, "each alone s": alone, "each watched s": watched}]


def _run(out: Path) -> tuple[float, float]:
    """Return wall and CPU seconds of a run."""
    command = [
        sys.executable,
        "-m",
        "milepost",
        "run",
        SOURCE,
        "-t",
        TASKS,
        "-f",
        "5",
        "-o",
        str(out),
        "--json",
    ]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


CROWD = "--crowd"


async def _crowd(url: str) -> None:
    """Be 200 readers of the overview until the process is ended."""
    host, port = url.removeprefix("http://").strip("/").split(":")
    counts = {"events": 0, "pages": 0, "errors": 0}
    there = asyncio.Semaphore(0)

    async def read() -> None:
        records = None
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"data: "):
                there.release()
                counts["events"] += 1
                now = json.loads(line[6:])["records"]
                if now != records:
                    records = now
                    counts["pages"] += 1
                    counts["errors"] += not await _has_page(host, int(port))
        counts["errors"] += 1

    tasks = [asyncio.create_task(read()) for _ in range(N_READERS)]
    for _ in tasks:
        await there.acquire()
    print("there", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, ended.set)
    await ended.wait()
    counts["errors"] += sum(task.done() for task in tasks)
    print(json.dumps(counts), flush=True)
    for task in tasks:
        task.cancel()


async def _has_page(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/html\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


MEASURES = {"start": start, "pages": pages, "heat": heat, "live": live, "readers": readers}

if __name__ == "__main__":
    if sys.argv[1:2] == [CROWD]:
        asyncio.run(_crowd(sys.argv[2]))
    else:
        main()
