"""Score the jobs of a process: read weights, run the shards through the engines, store the answers."""
