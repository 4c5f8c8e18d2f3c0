"""Tests of milepost.weights.formats.peft."""
