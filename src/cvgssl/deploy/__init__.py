"""Using a trained recognizer: model files and prediction."""
