"""Recognizers without training: a head on an encoder's embeddings, kept as a folder."""
