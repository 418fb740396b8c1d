"""Recognizers that are deployed: fit, the folder that keeps it, prediction."""
