"""Question sources: task names to requests, a model's answers to metrics. See `question_source`."""
