"""Pre-training of a backbone on unlabelled pictures."""
