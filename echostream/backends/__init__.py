"""Back ends for the step of the network: PyTorch, or ONNX Runtime with an exported graph."""
