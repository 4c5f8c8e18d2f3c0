"""Plain data types that the stages exchange.

This module imports no torch, lm_eval or numpy, so that commands that only read results start quickly.
Array shapes use: T tokens, N sequences, R requests.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
    """The commit of that revision when it was listed; this commit is downloaded."""
    subfolder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketLocation:
    """A folder of a bucket, as it was when it was listed."""

    address: str
    """`s3://bucket/runs/my-500m/checkpoint-1000`."""
    version: str
    """Hash of the names, sizes and versions of its objects; these are downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One set of weights at one step of a training run; the weights are not read yet."""

    series: str
    """Name of its training run; unique in one evaluation."""
    name: str
    """`checkpoint-10`, `step-400`, `iter_0002000`, `main`."""
    step: int | None
    """Last integer in the name; None without an integer."""
    source: str
    """Full address that a user could type: an absolute path, `hf://org/name@revision/subfolder` or
    `s3://bucket/folder`."""
    format: str
    """Format of the weights: the name of a format in `milepost.sources.formats`."""
    location: Path | HubLocation | BucketLocation
    size_bytes: int | None = None
    """Bytes of weights; None if the source does not say."""
    problem: str | None = None
    """Why it cannot be evaluated (a missing shard, no config); None if it looks complete."""
    config: Path | None = None
    """A config from the user, used in place of the one beside the weights."""
    base: Checkpoint | None = None
    """The base model of an adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The checkpoints of one training run, ordered by step."""

    name: str
    source: str
    """The SOURCE as given on the command line."""
    checkpoints: tuple[Checkpoint, ...]
    root: str = ""
    """Identity of the run: the absolute path of its folder, or `hf://org/name`."""


def step_order(step: int | None, name: str) -> tuple[bool, int, str]:
    """Sort key of checkpoints: by step, then by name; those without a step (`main`, `final`) come last."""
    return step is None, step or 0, name


# ---- tasks: requests ------------------------------------------------------------------------------------

RequestKind = Literal["loglikelihood", "loglikelihood_rolling", "generate_until"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Settings for continuing a prompt; prompts with equal settings can be in one batch."""

    until: tuple[str, ...]
    """Stop strings: a text ends before the first of them."""
    max_new_tokens: int
    stop_tokens: tuple[int, ...] = ()
    """Token ids that end a text; they are not part of it."""
    do_sample: bool = False
    """Sample each token from the model's distribution, not the most likely token."""
    temperature: float = 1.0
    """Divides the logits; only used with `do_sample`."""
    options: tuple[tuple[str, float], ...] = ()
    """Other sampling options with transformers' names: `top_p`, `repetition_penalty`, ..."""
    n_answers: int = 1
    """Texts per prompt; more than one only with `do_sample`."""
    seed: int = 0
    """Seed of the sampling."""
    stop_sequences: tuple[tuple[int, ...], ...] = ()
    """Token ids that end a text where they stand one after the other."""
    returns: Literal["text", "tokens"] = "text"
    """`tokens`: the answer is token ids with their log-probabilities (`token_answers`) and not a text.
    With `max_new_tokens` 0 the tokens are those of the prompt."""

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON; those that came later only where they differ from their defaults, so
        that the names of older shards stay."""
        fields: dict[str, object] = asdict(self)
        if not self.stop_sequences:
            del fields["stop_sequences"]
        if self.returns == "text":
            del fields["returns"]
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """Generation settings from a model's own files, used where the task has none."""

    stop_tokens: tuple[int, ...] = ()
    options: tuple[tuple[str, float], ...] = ()
    """Sampling options, as in `Generation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A rule for cutting the tokens of one text into windows, which are scored separately; see
    `plan.windows`.
    """

    kind: Literal["fixed", "sliding", "rolling"]
    size: int | None = None
    """Tokens per window; None: 2,048, or the model's context if that is shorter."""
    whole_context: bool = False
    """True: windows are as long as the model's context, whatever `size` is."""
    stride: int | None = None
    """Sliding only: new tokens per window after the first; None: `usual_stride`."""
    keep_tail: bool = False
    """Fixed only. True: the rest at the end is a (shorter) window as well."""
    most: int | None = None
    """Fixed only: most windows, from the start; None for all."""
    prefix: bool = False
    """Rolling only. True: the first token is predicted too, from a BOS (else EOS) token before it."""


def usual_stride(size: int) -> int:
    """Return the default stride of sliding windows of `size` tokens: 512, or half of a short window."""
    return min(512, max(1, size // 2))


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the model as strings, before tokenisation."""

    kind: RequestKind
    doc_id: int
    """Position of the doc in the task's evaluation split."""
    index: int
    """Number of the request in its doc (the choice, for multiple choice)."""
    context: str
    continuation: str
    """The text to score; the whole text of a rolling request (without context); empty for generation."""
    generation: Generation | None = None
    """Generation settings; None unless the kind is `generate_until`."""
    windows: Windows | None = None
    """How to cut the text into windows of tokens, each of which becomes a request; None for no windows."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The choices of one doc of a multiple-choice task."""

    doc_id: int
    texts: tuple[str, ...]
    """Texts of the choices, without the delimiter before them."""
    right: tuple[int, ...]
    """Positions of right choices in `texts`; empty if the data have none."""
    scored: str | None = None
    """The text that is scored after each choice, without the delimiter, if the choices are in the contexts
    (winogrande); None if the choices themselves are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The choices of a multiple-choice task, doc after doc; the same for every checkpoint.

    Arrays [C], one entry per choice, in the order of the docs and of lm_eval's choices.
    """

    doc_id: npt.NDArray[np.int64]
    """Position of the choice's doc in the evaluation split, ascending."""
    right: npt.NDArray[np.bool_]
    """True for right choices; a doc may have several of them, or none."""
    chars: npt.NDArray[np.int32]
    """Characters of the choice's text without the delimiter before it, as in lm_eval's `acc_norm`."""
    bytes: npt.NDArray[np.int32]
    """Bytes of the same text in UTF-8, as in lm_eval's `acc_bytes`."""
    tokens: npt.NDArray[np.int32]
    """Scored tokens of the choice, with the delimiter."""
    fixed: bool
    """True if every doc has the same choices, such as the letters A to D: then a position has a name."""
    scored_bytes: npt.NDArray[np.int32]
    """Bytes in UTF-8 of the text that is scored for the choice, without the delimiter before it: the choice
    itself, unless the choices are in the contexts."""

    def __len__(self) -> int:
        return len(self.doc_id)


CHOICE_COLUMNS = ("doc_id", "right", "chars", "bytes", "tokens", "scored_bytes")
"""The arrays of `Choices`, as they are stored."""


# ---- plan and engine: token ids in, log-likelihoods out ------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """N token sequences to score, each with targets at its end.

    Sequence i is `tokens[starts[i]:starts[i + 1]]`. The model's input is all of it but the last token, and
    its last `n_targets[i]` tokens are scored (1 <= n_targets[i] < length). A sequence is never longer than
    the model's context plus one. In a plan, a sequence without targets is a prompt to continue; engines do
    not get those.
    """

    tokens: npt.NDArray[np.int32]
    """[T] token ids, sequence after sequence."""
    starts: npt.NDArray[np.int64]
    """[N + 1] offsets into `tokens`."""
    n_targets: npt.NDArray[np.int32]
    """[N] number of scored tokens at the end."""

    def __len__(self) -> int:
        return len(self.n_targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores that an engine returns for `Sequences`, in their order."""

    loglikelihood: npt.NDArray[np.float64]
    """[N] nats, summed over the targets; NaN where the model gave NaN or Inf."""
    greedy: npt.NDArray[np.bool_]
    """[N] True if every target was the model's most likely token."""
    target_logprobs: npt.NDArray[np.float32] | None = None
    """[sum of `n_targets`] nats of each target, sequence after sequence; None where the engine has only the
    sums."""
    failed: Mapping[int, str] = field(default_factory=dict)
    """Number of a sequence to the reason why the model failed on it; its log-likelihood is NaN."""


# ---- store and analysis: stored metrics ------------------------------------------------------------------


class Asked(NamedTuple):
    """The settings of a task that the user chose; metrics of different ones stand side by side."""

    num_fewshot: int | None = None
    limit: float | None = None
    """`--limit`: a number of docs, or a share below 1."""
    dtype: str | None = None
    """None unless a checkpoint was measured on the same prompts in several dtypes."""
    others: str = ""
    """Every other option that is not at its default: `apply_chat_template=true gen_kwargs=temperature=0`."""
    edition: int = 0
    """0 for the newest prompts and metrics under these settings; 1, 2, ... for earlier ones, such as those
    from before a task file was edited."""


AS_USUAL = Asked()
"""Nothing was chosen, or it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The value of one metric of a task (or group) at one checkpoint, as lm_eval computes it."""

    series: str
    checkpoint: str
    step: int | None
    task: str
    metric: str
    filter: str
    value: float | None
    """None if it could not be computed, for example because of NaN logits."""
    stderr: float | None
    n: int
    """Number of docs."""
    chance: float | None
    """Value of a model that guesses; None if the metric has no such level."""
    higher_is_better: bool | None
    kind: Literal["task", "group"]
    alias: str
    """Short display name."""
    parents: tuple[str, ...]
    """Groups that contain the task or group, outermost first."""
    num_fewshot: int | None
    constant: tuple[float, float] | None = None
    """Lowest and highest accuracy of always answering with the same position (A … D); None unless the metric
    is an accuracy of multiple choice."""
    fixed_choices: bool = False
    """True if every doc has the same choices (A to D), so that a model can have a favourite."""
    reason: str | None = None
    """Why the value is missing."""
    doc_range: tuple[float, float] | None = None
    """Lowest and highest value of the docs, if the metric is their mean; else None."""
    dtype: str | None = None
    """Dtype of the computation, such as `float32`."""
    asked: Asked = AS_USUAL
    """The settings that the user chose."""
    variant: str = ""
    """What sets it apart from the same task in other settings (`5-shot`); empty where there are none."""

    @property
    def label(self) -> str:
        """The task as it was asked: its name, with the variant where it was asked in several settings."""
        return f"{self.task} {self.variant}" if self.variant else self.task


@dataclass(frozen=True, slots=True)
class MissingMetric:
    """A metric that could not be computed, and why."""

    task: str
    """Name of the task or group."""
    metric: str | None
    """None for all metrics."""
    filter: str | None
    """None for all filters."""
    reason: str
    kind: str = "raised"
    """`raised`: an exception, so another try may succeed (a package is installed, a file is mended);
    `number`: the result is NaN or too large; `expected`: not a fault, such as a mean over zero docs."""

    def concerns(self, metric: str, filter: str) -> bool:
        """Return whether this is the reason for a metric and filter of its task."""
        return self.metric in (None, metric) and self.filter in (None, filter)


class Estimate(NamedTuple):
    """A metric's value with its uncertainty, without task and checkpoint."""

    value: float | None
    """None if the model gave no number."""
    stderr: float | None
    n: int
    """Number of docs."""
    chance: float | None
    """Value of a model that guesses; None if the metric has no such level."""


class PickCounts(NamedTuple):
    """The choices that a model picked, by position and by length, and the places of the right ones.

    Lengths are in bytes. The lists by length leave out docs whose choices all have one length, and docs with
    another number of choices than most; equal lengths share ranks.
    """

    n: int
    """Number of docs."""
    fixed: bool
    """True if every doc has the same choices (A to D): then a model can prefer a position."""
    picked: list[int]
    """By position: docs whose pick (highest log-likelihood) is there."""
    right: list[int]
    """By position: docs with a right choice there."""
    constant: list[float]
    """By position that most docs have: the accuracy of always answering with that position."""
    picked_by_length: list[float]
    """By rank of length, the shortest first: docs whose pick has that rank."""
    right_by_length: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """The `PickCounts` of a task (or group) at one checkpoint."""

    series: str
    checkpoint: str
    step: int | None
    task: str
    """As it was asked; see `Measurement.label`."""
    kind: Literal["task", "group"]
    counts: PickCounts


# ---- weights: zeros of a checkpoint --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSparsity:
    """The zeros of one weight matrix."""

    name: str
    shape: tuple[int, ...]
    zeros: int
    """Weights that are exactly 0 (or -0)."""
    pattern: str
    """`dense`, `2:4` (at most 2 of 4 neighbours are not zero), `16x16 blocks`, `whole rows`, `whole columns`,
    `all zero` or `unstructured`. Neighbours are in a row of the matrix, or else in a column."""

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
    """The LM head, if it is a separate matrix."""
    n_parameters: int
    """All weights of the checkpoint."""
    n_zeros: int
    """Weights that are exactly 0, anywhere."""
    bytes_on_disk: int
    """Size of the weight files."""

    @property
    def share(self) -> float:
        """Zeros over weights of all linear layers together; 0 without linear layers."""
        n_weights = sum(layer.n_weights for layer in self.layers)
        return sum(layer.zeros for layer in self.layers) / n_weights if n_weights else 0.0

    @property
    def patterns(self) -> dict[str, int]:
        """Pattern to the number of linear layers that have it, the most frequent first."""
        return dict(Counter(layer.pattern for layer in self.layers).most_common())
