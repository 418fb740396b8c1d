"""A backbone adapted to a handful of labels: draws, linear evaluation, fine-tuning."""
