"""Send metrics to experiment trackers (wandb, trackio) while a run goes on."""

from milepost.recorders.available import RECORDERS, check_recorder, open_recording
from milepost.recorders.recording import Recording

__all__ = ["RECORDERS", "Recording", "check_recorder", "open_recording"]
