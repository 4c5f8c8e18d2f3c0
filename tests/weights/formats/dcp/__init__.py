"""Tests of milepost.weights.formats.dcp."""
