"""Tests of milepost.sources.hub."""
