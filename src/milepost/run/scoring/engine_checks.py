"""Check engines that cannot run every plan, and connect to the server of `--engine openai`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from milepost.engine.generate.sampling_support import check_sampling_options
from milepost.errors import MilepostError
from milepost.plan.plan import Plan
from milepost.run.config import EvalConfig
from milepost.run.scoring.inference import Inference
from milepost.text.language import Phrase
from milepost.types.checkpoints import Checkpoint


def check_engine(config: EvalConfig, checkpoints: Sequence[Checkpoint], plans: Iterable[Plan]) -> None:
    """Check that the engine can run these plans, and that a server can be reached.

    Raises:
        MilepostError: the engine cannot generate a task's texts; there are several checkpoints for one
            server, no server at `--base-url`, or no such model there.
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
            Phrase(
                "a server holds one model, and SOURCE stands for {n_checkpoints} checkpoints",
                n_checkpoints=len(checkpoints),
            ),
            "name the one that is served, for example with --steps 1000:1000",
        )
    connect(config)


def connect(config: EvalConfig) -> Inference:
    """Return the served model, in place of one in memory."""
    from milepost.engine.server.client import ServerClient
    from milepost.engine.server.engines import ServerEngine, ServerGenerator

    assert config.base_url is not None
    client = ServerClient.connect(config.base_url, config.served_model)
    return Inference(ServerEngine(client), ServerGenerator(client))
