"""Tasks of lm-evaluation-harness: names to requests, scores to metrics. Only this folder imports lm_eval."""
