"""Random views of pictures as batched tensor operations with explicit parameters."""
