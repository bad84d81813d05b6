"""What computes the network: PyTorch, or ONNX Runtime with a graph that is exported from it."""
