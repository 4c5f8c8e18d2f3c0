"""Tasks of our own that score one text in every convention of perplexity: a YAML file each, `ppl_*`."""
