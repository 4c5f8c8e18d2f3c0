"""Simulate how often tests of equally good models err and how often intervals hold the true value.

    python benchmarks/coverage.py [--samples 20000] [--docs 10,15,40,100]

The suite runs the same with fewer samples (tests/analysis); decision 0023 quotes the first table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy.special import stdtr

from milepost.analysis.mean_differences import Differences, differences, p_values

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
SHAPES: dict[str, Draw] = {
    "normal": lambda draw, size: draw.normal(size=size),
    "t, 3 degrees of freedom": lambda draw, size: draw.standard_t(3, size),
    "mostly equal": lambda draw, size: np.where(
        draw.random(size) < 0.2, draw.choice([-1.0, -0.5, 0.5, 1.0], size), 0.0
    ),
    "gamma with random signs": lambda draw, size: draw.gamma(0.3, size=size) * draw.choice([-1.0, 1.0], size),
    "exponential less its mean": lambda draw, size: draw.exponential(1, size) - 1,
    "lognormal less its mean": lambda draw, size: np.exp(draw.normal(size=size)) - np.exp(0.5),
}
LEVELS = (0.05, 0.05 / 57)
TOGETHER = 200
"""Samples that are tested as one matrix: model 0, which is 0 on every doc, against each of the others."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--docs", default="10,15,20,40,100")
    given = parser.parse_args()
    draw = np.random.default_rng(0)
    print("share of p-values below", " and ".join(f"{level:.5f}" for level in LEVELS))
    for name, shape in SHAPES.items():
        for docs in map(int, given.docs.split(",")):
            plain, ours = [], []
            for _ in range(0, given.samples, TOGETHER):
                found = differences(np.vstack([np.zeros(docs), shape(draw, (TOGETHER, docs))]), np.ones(docs))
                plain.append(_students(found))
                ours.append(p_values(found)[0, 1:])
            print(f"{name:28} {docs:4} docs  Student's t {_shares(plain)}  the rule {_shares(ours)}")


def _students(found: Differences) -> np.ndarray:
    t = np.abs(found.mean[0, 1:]) / np.maximum(found.stderr[0, 1:], 1e-300)
    p: np.ndarray = np.where(found.mean[0, 1:] == 0, 1.0, 2 * stdtr(found.n - 1, -t))
    return p


def _shares(p: list[np.ndarray]) -> str:
    every = np.concatenate(p)
    return " ".join(f"{(every < level).mean():.4%}" for level in LEVELS)


if __name__ == "__main__":
    main()
