"""Mutated files of every format that cvgssl reads: a result or one line, nothing else."""
