"""Engines with conditions: what must be true of a run that asks for one, and who answers for a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from milepost.engine.generate.sampling_support import check_sampling_options
from milepost.errors import MilepostError
from milepost.plan.plan import Plan
from milepost.run.config import EvalConfig
from milepost.run.inference import Inference
from milepost.types import Checkpoint


def check_engine(config: EvalConfig, checkpoints: Sequence[Checkpoint], plans: Iterable[Plan]) -> None:
    """Whether the engine asked for can answer these plans; of a server, whether it is there.

    Raises:
        MilepostError: a task's texts cannot be had of it; several checkpoints for one server, nobody at
            `--base-url`, or no such model there.
    """
    for plan in plans:
        for task in plan.tasks:
            for generation in task.generations.settings:
                check_sampling_options(config.engine, generation, task.name)
    if config.engine == "openai":
        _check_served(config, checkpoints)


def _check_served(config: EvalConfig, checkpoints: Sequence[Checkpoint]) -> None:
    if len(checkpoints) != 1:
        raise MilepostError(
            f"a server holds one model, and SOURCE stands for {len(checkpoints)} checkpoints",
            "name the one that is served, for example with --steps 1000:1000",
        )
    connect(config)


def connect(config: EvalConfig) -> Inference:
    """The served model in place of one in memory."""
    from milepost.engine.server.client import ServerClient
    from milepost.engine.server.engines import ServerEngine, ServerGenerator

    assert config.base_url is not None
    client = ServerClient.connect(config.base_url, config.served_model)
    return Inference(ServerEngine(client), ServerGenerator(client))
