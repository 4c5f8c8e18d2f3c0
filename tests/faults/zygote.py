"""Starts `milepost` as real processes without paying for its imports each time.

A process of its own that has imported torch and lm_eval and waits. For each line of JSON on stdin it forks a
child that runs the command line given, or waits for such a child, and answers with a line.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SLOW_TO_IMPORT = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "datasets",
    "pyarrow.parquet",
    "lm_eval.evaluator",
    "milepost.engine",
    "milepost.run.evaluation",
    "milepost.tasks.lm_eval.loading",
    "milepost.tasks.lm_eval.metrics",
    "milepost.weights",
)


@dataclass(frozen=True)
class Child:
    """A running `milepost`, a child of the zygote."""

    pid: int
    log: Path
    zygote: Zygote

    def wait(self) -> int:
        """Exit status; negative for the signal that ended it, as in subprocess."""
        return int(self.zygote.ask({"wait": self.pid}))

    def has_ended(self) -> bool:
        return self.zygote.ask({"poll": self.pid}).strip() != "None"

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")


class Zygote:
    """The parent of the processes under test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *argv: str | Path, log: Path, before: str = "") -> Child:
        """`milepost ARGV`, both of its outputs into `log`; `before` is Python code that it runs first."""
        command = [str(argument) for argument in argv]
        pid = int(self.ask({"argv": command, "log": str(log), "before": before}))
        return Child(pid, log, self)

    def run(self, *argv: str | Path, log: Path, before: str = "") -> int:
        return self.start(*argv, log=log, before=before).wait()

    def ask(self, what: dict[str, object]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _serve() -> None:
    # As a shell starts a program, even where the tests run with signals ignored (`nohup`, `&`).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    ended: dict[int, int] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        pid = asked.get("wait", asked.get("poll"))
        if pid is not None:
            if pid not in ended:
                done, status = os.waitpid(pid, 0 if "wait" in asked else os.WNOHANG)
                if done:
                    ended[pid] = os.waitstatus_to_exitcode(status)
            print(ended.get(pid), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _become(asked["argv"], asked["log"], asked["before"])
        print(pid, flush=True)


def _become(argv: list[str], log: str, before: str) -> None:
    from milepost.cli.main import main

    sys.argv = ["milepost", *argv]
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    exec(before, {})
    main()


if __name__ == "__main__":
    _serve()
