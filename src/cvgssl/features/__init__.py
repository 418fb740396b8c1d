"""Embeddings of whole folders, computed once and read by heads, selection and benchmark."""
