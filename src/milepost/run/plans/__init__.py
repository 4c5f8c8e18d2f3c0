"""Plans of a run's series: made, taken from the cache, or read from a folder or from records."""
