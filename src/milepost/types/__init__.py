"""Plain data types that the stages exchange.

They import no torch, lm_eval or numpy, so that commands that only read results start quickly.
Array shapes use: T tokens, N sequences, R requests, D docs, C choices, S checkpoints.
"""
