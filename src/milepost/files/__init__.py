"""Files: the user's cache folder, and quick readers of Parquet and JSON."""
