"""Read what the checkpoints of a series share before any weights: tokenizer, context length, shape."""
