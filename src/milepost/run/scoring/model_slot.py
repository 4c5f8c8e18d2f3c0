"""The one live model and its engine, which each checkpoint's weights are loaded into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost.run.config import EvalConfig
from milepost.run.scoring.inference import Inference
from milepost.run.scoring.weight_staging import Staging
from milepost.run.series.prepared_series import PreparedSeries

if TYPE_CHECKING:
    from milepost.plan.plan import Plan
    from milepost.weights import CheckpointWeights, LiveModel


class ModelSlot:
    """Holds at most one model, and on a GPU the next one's weights beside it.

    `offer` may be called from the thread that reads; the other methods are for the main thread.
    """

    def __init__(self, config: EvalConfig, halvings: int = 0) -> None:
        """Make an empty slot.

        Args:
            halvings: how often the tokens of a forward pass are halved.
        """
        self._config = config
        self._halvings = halvings
        self._model: LiveModel | None = None
        self._inference: Inference | None = None
        self._built_for: tuple[str, str] | None = None
        """Tokenizer and dtype."""
        self._staging = Staging()

    def load(
        self, weights: CheckpointWeights, dtype: str, device: str, series: PreparedSeries, plan: Plan
    ) -> tuple[Inference, int]:
        """Put weights in the place of those before; the given tensors are freed.

        The weights are copied into the module where they fit it, else a new module and engine are built.

        Args:
            plan: the plan of the series' first checkpoint, with which an engine is tried.

        Returns:
            The model behind its engine, and its number of parameters.
        """
        from milepost.weights import LiveModel

        if (
            self._model is None
            or self._inference is None
            or self._built_for != (series.tokenizer_id, dtype)
            or self._model.accepts(weights) is not None
        ):
            self._staging.forget(weights)
            self._model = self._inference = None  # frees the old module before the new one is made
            is_spread = self._config.placement.device_map is not None
            self._model = LiveModel.build(weights, dtype=dtype, device=device, is_spread=is_spread)
            self._built_for = series.tokenizer_id, dtype
            self._inference = self._build_inference(self._model, series, plan)
        else:
            self._model.copy_from(weights, self._staging.staged(weights))
            self._staging.forget(weights)
        weights.tensors.clear()  # only the next checkpoint's stay in memory beside the module
        return self._inference, self._model.n_parameters

    def offer(self, weights: CheckpointWeights) -> None:
        """Announce the weights that are loaded next."""
        self._staging.offer(weights)

    def stage_next(self) -> None:
        """Begin between two shards to copy the announced weights to the device, if it has room."""
        if self._model is not None and self._inference is not None:
            self._staging.stage(self._model, self._inference.gpu)

    def forget(self, weights: CheckpointWeights) -> None:
        """Free what is on the device of weights that are loaded, or never will be."""
        self._staging.forget(weights)

    def _build_inference(self, model: LiveModel, series: PreparedSeries, plan: Plan) -> Inference:
        from milepost.engine import build_engine, build_generator
        from milepost.engine.budget import fitting_budget, halved_budget

        name, budget_tokens = self._config.engine, self._config.budget_tokens(series.max_length)
        if self._halvings:
            budget_tokens = halved_budget(budget_tokens or fitting_budget(model.module), self._halvings)
        assert name != "openai", "a server has its weights itself"
        engine = build_engine(
            name,
            model.module,
            vocab_size=model.vocab_size,
            budget_tokens=budget_tokens,
            trial=plan.longest_scored(),
        )
        if not plan.generates_text:
            return Inference(engine, None)
        generator = build_generator(
            name,
            model.module,
            series.tokenizer,
            vocab_size=model.vocab_size,
            budget_tokens=budget_tokens,
        )
        return Inference(engine, generator)
