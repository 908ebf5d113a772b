"""What happens in time: the loop of a run, its start, attempts, checkpoints and end."""
