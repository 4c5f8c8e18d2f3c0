"""Follow a training run and evaluate its checkpoints as they become complete."""

from milepost.watching.config import WatchConfig, parse_duration
from milepost.watching.watcher import EndReason, watch_run

__all__ = ["EndReason", "WatchConfig", "parse_duration", "watch_run"]
