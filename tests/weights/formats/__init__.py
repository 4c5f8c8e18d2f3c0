"""Tests of milepost.weights.formats."""
