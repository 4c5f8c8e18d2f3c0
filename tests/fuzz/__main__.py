"""Run `make fuzz`: MILEPOST_FUZZ examples (200) from MILEPOST_FUZZ_SEED, in at most MILEPOST_FUZZ_SECONDS."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from pathlib import Path

REPORT = Path("fuzz-report.json")
FAILURES = Path("fuzz-failures")


def main() -> int:
    n = int(os.environ.get("MILEPOST_FUZZ", "200"))
    # A multiple of 8, so that the kinds take turns in the same order whatever the seed is.
    seed = int(os.environ.get("MILEPOST_FUZZ_SEED") or 8 * secrets.randbelow(10**8))
    seconds = float(os.environ.get("MILEPOST_FUZZ_SECONDS", "3600"))
    with tempfile.TemporaryDirectory(prefix="milepost-fuzz-") as scratch:
        os.environ |= {
            "HF_HOME": f"{scratch}/hf", "MILEPOST_CACHE": f"{scratch}/cache", "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }  # fmt: skip
        import torch

        from tests.fuzz.loop import Report, fuzz, try_example, write_report

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        work = Path(scratch) / "work"
        if only := os.environ.get("MILEPOST_FUZZ_ONLY"):
            kind, number = only.split(":")
            report = Report(int(number))
            failed = try_example(kind, int(number), work, FAILURES, report)
            print(f"{only}: {failed.error if failed else next(iter(report.outcomes))}")
            return 1 if failed else 0
        repeated = f"MILEPOST_FUZZ_SEED={seed} repeats them"
        print(f"{n} examples from seed {seed}, {seconds:.0f} s at most ({repeated})")
        report = fuzz(n, seed, seconds, work, FAILURES)
    write_report(report, REPORT)
    tried = ", ".join(f"{count} {kind}" for kind, count in sorted(report.examples.items()))
    print(f"{tried}; {len(report.failed)} failed; {report.seconds:.0f} s; seed {seed}; report in {REPORT}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
