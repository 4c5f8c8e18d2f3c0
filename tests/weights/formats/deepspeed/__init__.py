"""Tests of milepost.weights.formats.deepspeed."""
