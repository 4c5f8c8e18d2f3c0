"""The values that the stages hand to each other. Below every other module; plain data, no behaviour.

Nothing here imports torch, lm_eval or numpy, so that commands that only read results start in a blink.
Array shapes use: T tokens, N sequences, R requests.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt


# ---- sources: where checkpoints come from -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLocation:
    """One revision (and subfolder) of a repository on the Hugging Face Hub."""

    repo_id: str
    revision: str
    """Branch or tag as the user knows it."""
    commit: str
    """The commit it stood at when it was listed; what is downloaded."""
    subfolder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One set of weights at one step of a training run, not yet read."""

    series: str
    """Name of the training run it belongs to; unique within one evaluation."""
    name: str
    """`checkpoint-10`, `step-400`, `iter_0002000`, `main`."""
    step: int | None
    """Last integer in the name; None where the name has none."""
    source: str
    """Full address, as a user could type it: an absolute path or `hf://org/name@revision/subfolder`."""
    format: str
    """How the weights are written: the name of one of `milepost.sources.formats`."""
    location: Path | HubLocation
    size_bytes: int | None = None
    """Bytes of weights; None where the source does not say."""
    problem: str | None = None
    """Why it cannot be evaluated (a missing shard, no config); None where it looks complete."""
    config: Path | None = None
    """A config that the user gave, in place of any that lies beside the weights."""
    base: Checkpoint | None = None
    """For an adapter: the model it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The checkpoints of one training run, ordered by step."""

    name: str
    source: str
    """The SOURCE as given on the command line."""
    checkpoints: tuple[Checkpoint, ...]
    root: str = ""
    """What makes it the same run as another: the absolute path of its folder, or `hf://org/name`."""


def step_order(step: int | None, name: str) -> tuple[bool, int, str]:
    """Sort key of checkpoints: by step, then by name; those without a step (`main`, `final`) come last."""
    return step is None, step or 0, name


# ---- tasks: what is asked ------------------------------------------------------------------------------

RequestKind = Literal["loglikelihood", "loglikelihood_rolling", "generate_until"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How a prompt is to be continued; prompts with equal settings can be continued together."""

    until: tuple[str, ...]
    """Stop strings: a text ends where the first of them begins."""
    max_new_tokens: int
    stop_tokens: tuple[int, ...] = ()
    """Token ids that end a text; they are not shown in it."""
    do_sample: bool = False
    """Draw each token from the model's distribution; else take the likeliest."""
    temperature: float = 1.0
    """Divides the logits; of no effect unless `do_sample`."""
    options: tuple[tuple[str, float], ...] = ()
    """transformers' names and values of what else changes the choice: `top_p`, `repetition_penalty`, ..."""
    n_answers: int = 1
    """Texts per prompt; more than one only where they are drawn."""
    seed: int = 0
    """Of the draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """What a model's own files say of how its texts end and are chosen, where a task does not."""

    stop_tokens: tuple[int, ...] = ()
    options: tuple[tuple[str, float], ...] = ()
    """As in `Generation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How the tokens of one text are cut into windows, each scored by itself; see `plan.windows`."""

    kind: Literal["fixed", "sliding", "rolling"]
    size: int | None = None
    """Tokens per window; None: 2,048, or the model's context where that is shorter."""
    whole_context: bool = False
    """Whether windows are as long as the model's context, whatever `size` is."""
    stride: int | None = None
    """Sliding only: new tokens per window after the first; None: `usual_stride`."""
    keep_tail: bool = False
    """Fixed only: whether what is left at the end is a window as well, a shorter one."""
    most: int | None = None
    """Fixed only: how many windows at most, from the start; None for all."""
    prefix: bool = False
    """Rolling only: whether the first token is predicted too, from the BOS (else EOS) token put before it."""


def usual_stride(size: int) -> int:
    """New tokens per sliding window of `size` tokens, if nobody says: 512, or half of a short window."""
    return min(512, max(1, size // 2))


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the model, as strings, before it meets a tokenizer."""

    kind: RequestKind
    doc_id: int
    """Position of the doc in the task's evaluation split."""
    index: int
    """Which of the doc's requests (the choice, for multiple choice)."""
    context: str
    continuation: str
    """The text to score; for rolling requests the whole text (the context is then empty), for generation
    empty."""
    generation: Generation | None = None
    """How to go on from the context; None unless the kind is `generate_until`."""
    windows: Windows | None = None
    """For a text that is cut into windows by tokens: how. Each window then becomes a request of its own."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What one doc of a multiple-choice task lets the model choose from."""

    doc_id: int
    texts: tuple[str, ...]
    """Without the delimiter before them."""
    right: tuple[int, ...]
    """Places in `texts`; empty where the data name none of them."""
    scored: str | None = None
    """The one text that is scored after each of them, without the delimiter, where the choices stand in the
    contexts (winogrande); None where they are scored themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The answers that a multiple-choice task offers, doc after doc; the same for every checkpoint.

    Arrays [C], an entry per choice, in the order of the docs and of lm_eval's choices.
    """

    doc_id: npt.NDArray[np.int64]
    """Position of the choice's doc in the evaluation split, ascending."""
    right: npt.NDArray[np.bool_]
    """Whether the choice counts as right; none of a doc's may, and several may."""
    chars: npt.NDArray[np.int32]
    """Length of the choice's text without the delimiter before it, as lm_eval's `acc_norm` counts it."""
    bytes: npt.NDArray[np.int32]
    """Likewise in UTF-8, as lm_eval's `acc_bytes` counts it."""
    tokens: npt.NDArray[np.int32]
    """Tokens that are scored for it, with the delimiter."""
    fixed: bool
    """Whether every doc offers the same texts, such as the letters A to D: then a position has a name."""
    scored_bytes: npt.NDArray[np.int32]
    """Length in UTF-8 of the text whose log-likelihood is taken for the choice, without the delimiter before
    it: that of the choice itself, unless the choices stand in the contexts."""

    def __len__(self) -> int:
        return len(self.doc_id)


CHOICE_COLUMNS = ("doc_id", "right", "chars", "bytes", "tokens", "scored_bytes")
"""The arrays of `Choices`, as they are stored."""


# ---- plan and engine: token ids in, log-likelihoods out ------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """What an engine scores: N token sequences, each with a tail of tokens to be predicted.

    In a plan a sequence may have no targets: a prompt that is to be continued. Engines are not given those.

    Sequence i is `tokens[starts[i]:starts[i + 1]]`; the model sees all of it but the last token, and its
    last `n_targets[i]` tokens are the ones scored (1 <= n_targets[i] < length). A sequence is never longer
    than the model's context plus one.
    """

    tokens: npt.NDArray[np.int32]
    """[T] token ids, sequence after sequence."""
    starts: npt.NDArray[np.int64]
    """[N + 1] offsets into `tokens`."""
    n_targets: npt.NDArray[np.int32]
    """[N] how many of the last tokens are scored."""

    def __len__(self) -> int:
        return len(self.n_targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What an engine returns for `Sequences`, in their order."""

    loglikelihood: npt.NDArray[np.float64]
    """[N] nats, natural logarithm, summed over the targets; NaN where the model gave NaN or Inf."""
    greedy: npt.NDArray[np.bool_]
    """[N] whether every target was the model's own first choice."""
    failed: Mapping[int, str] = field(default_factory=dict)
    """By the number of a sequence, why the model raised an exception on it; its log-likelihood is NaN."""


# ---- store and analysis: what is kept ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure: a metric of a task (or group) at one checkpoint, as lm_eval computes it."""

    series: str
    checkpoint: str
    step: int | None
    task: str
    metric: str
    filter: str
    value: float | None
    """None where it could not be computed, such as with NaN logits."""
    stderr: float | None
    n: int
    """Docs behind the figure."""
    chance: float | None
    """What guessing would score; None where the metric has no such level."""
    higher_is_better: bool | None
    kind: Literal["task", "group"]
    alias: str
    """Short display name."""
    parents: tuple[str, ...]
    """Groups the task or group stands in, outermost first."""
    num_fewshot: int | None
    constant: tuple[float, float] | None = None
    """Lowest and highest accuracy of always answering with the same position (A … D); None where the figure
    is no accuracy of multiple choice."""
    fixed_choices: bool = False
    """Whether every doc offers the same texts (A to D), so that a model can have a favourite among them."""
    reason: str | None = None
    """Why there is no value."""
    doc_range: tuple[float, float] | None = None
    """Lowest and highest value of the docs, for a task's mean of numbers; None where it is no such mean."""
    dtype: str | None = None
    """What it was computed in, such as `float32`."""


class Estimate(NamedTuple):
    """A figure with its uncertainty, not yet told of which task and checkpoint."""

    value: float | None
    """None where the model gave no number."""
    stderr: float | None
    n: int
    """Docs behind the figure."""
    chance: float | None
    """What guessing would score; None where the metric has no such level."""


class PickCounts(NamedTuple):
    """Which choices a model picked, by position and by length, and where the right ones are.

    The lengths are those of the texts in bytes. Docs whose choices are all of one length, or that offer
    another number of choices than most, are left out of the two lists by length; equal lengths share ranks.
    """

    n: int
    """Docs."""
    fixed: bool
    """Whether every doc offers the same texts (A to D): then a model can prefer a position."""
    picked: list[int]
    """By position: docs whose pick (of highest log-likelihood) stands there."""
    right: list[int]
    """By position: docs with a right choice there."""
    constant: list[float]
    """By position that most docs have: the accuracy of always answering with it."""
    picked_by_length: list[float]
    """By rank of length, the shortest first: docs whose pick has it."""
    right_by_length: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """The `PickCounts` of a task (or group) at one checkpoint."""

    series: str
    checkpoint: str
    step: int | None
    task: str
    kind: Literal["task", "group"]
    counts: PickCounts


# ---- weights: what a checkpoint holds ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSparsity:
    """The zeros of one weight matrix."""

    name: str
    shape: tuple[int, ...]
    zeros: int
    """Weights that are exactly 0 (or -0)."""
    pattern: str
    """`dense`, `2:4` (at most 2 of 4 neighbours are not zero), `16x16 blocks`, `whole rows`, `whole columns`,
    `all zero` or `unstructured`. Neighbours lie along a row of the matrix, or else along a column."""

    @property
    def n_weights(self) -> int:
        return math.prod(self.shape)

    @property
    def share(self) -> float:
        return self.zeros / self.n_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """The zeros of one checkpoint."""

    layers: tuple[LayerSparsity, ...]
    """The linear layers of the blocks, in the order of the files."""
    head: LayerSparsity | None
    """The output head, where it is a matrix of its own."""
    n_parameters: int
    """All weights of the checkpoint."""
    n_zeros: int
    """Those that are exactly 0, anywhere."""
    bytes_on_disk: int
    """Size of the weight files."""

    @property
    def share(self) -> float:
        """Zeros over weights, of the linear layers together; 0 where there are none."""
        counted = sum(layer.n_weights for layer in self.layers)
        return sum(layer.zeros for layer in self.layers) / counted if counted else 0.0

    @property
    def patterns(self) -> dict[str, int]:
        """Pattern to the number of linear layers that have it, the most frequent first."""
        return dict(Counter(layer.pattern for layer in self.layers).most_common())
