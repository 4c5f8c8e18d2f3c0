"""Tests of milepost.weights.formats.megatron."""
