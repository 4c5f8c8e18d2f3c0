"""Figures sent to experiment trackers while a run goes on: wandb and trackio, both behind one interface."""

from milepost.recorders.available import RECORDERS, check_recorder, open_recording
from milepost.recorders.recording import Recording

__all__ = ["RECORDERS", "Recording", "check_recorder", "open_recording"]
