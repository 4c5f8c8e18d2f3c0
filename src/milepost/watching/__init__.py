"""Following a training run: its checkpoints are evaluated as they become complete."""

from milepost.watching.config import WatchSettings, parse_duration
from milepost.watching.watcher import Ended, watch_run

__all__ = ["Ended", "WatchSettings", "parse_duration", "watch_run"]
