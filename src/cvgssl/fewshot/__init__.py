"""A handful of labels: draws, linear evaluation, fine-tuning, and what they are worth."""
