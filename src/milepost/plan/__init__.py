"""The plan: all requests of an evaluation as token ids, made once for all checkpoints. Needs only numpy."""
