"""Readers of tensors, one folder per checkpoint format, named as in `milepost.sources.formats`."""
