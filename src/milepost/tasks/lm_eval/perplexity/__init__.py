"""The `ppl_*` tasks, a YAML file for each convention of perplexity."""
