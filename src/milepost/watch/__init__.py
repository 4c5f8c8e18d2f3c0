"""Following a training run: its checkpoints are evaluated as they become complete."""

from milepost.watch.settings import WatchSettings, parse_duration
from milepost.watch.watcher import Ended, watch_run

__all__ = ["Ended", "WatchSettings", "parse_duration", "watch_run"]
