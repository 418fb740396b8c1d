"""A recognizer as one ONNX file: its graph, its proof, and what checks it."""
