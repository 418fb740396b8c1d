"""cvgssl: few-shot recognition of metal-surface defects, told honestly."""

__version__ = "0.1.0"
