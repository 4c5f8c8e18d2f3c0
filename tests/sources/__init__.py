"""Tests of milepost.sources."""
