"""Wires the stages together: sources, tasks and plan, engine, store. See `run.evaluation.evaluate_run`."""
