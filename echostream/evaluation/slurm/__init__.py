"""A sweep on a cluster: SLURM scripts that run it as an array of tasks."""
