"""Tests of milepost.weights."""
