"""What only a GPU can answer: see benchmarks/README.md; `__main__.py` is where to begin."""
