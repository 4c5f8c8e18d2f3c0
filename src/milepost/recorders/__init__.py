"""Send metrics to experiment trackers (wandb, trackio) while a run goes on."""

from milepost.recorders.available import RECORDERS, check_recorder, open_recording, opener
from milepost.recorders.boards import record_board
from milepost.recorders.recording import Recording

__all__ = ["RECORDERS", "Recording", "check_recorder", "open_recording", "opener", "record_board"]
