"""Do the jobs of a run: in this process, in workers of this machine, on Ray, in Slurm's arrays.

`units` decides who scores what, and knows neither files nor clocks. `driver` gives the units to a pool of
workers and finishes with the checkpoints. What a worker does with a unit is `worker.UnitScorer`, everywhere.
"""
