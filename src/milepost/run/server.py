"""A run whose answers come from a server: what must be true of it, and who answers."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.errors import MilepostError
from milepost.run.answering import Answerer
from milepost.run.settings import RunSettings
from milepost.types import Checkpoint


def check_served(settings: RunSettings, checkpoints: Sequence[Checkpoint]) -> None:
    """Whether one checkpoint is asked for, and somebody serves it.

    Raises:
        MilepostError: several checkpoints, nobody at `--base-url`, or no such model there.
    """
    if len(checkpoints) != 1:
        raise MilepostError(
            f"a server holds one model, and SOURCE stands for {len(checkpoints)} checkpoints",
            "name the one that is served, for example with --steps 1000:1000",
        )
    connect(settings)


def connect(settings: RunSettings) -> Answerer:
    """The served model in place of one in memory."""
    from milepost.engine.server.client import ServerClient
    from milepost.engine.server.engines import ServerEngine, ServerGenerator

    assert settings.base_url is not None
    client = ServerClient.connect(settings.base_url, settings.served_model)
    return Answerer(ServerEngine(client), ServerGenerator(client))
