"""ONNX Runtime in the place of PyTorch: the step of an exported network or encoder.

Needs onnxruntime, which `pip install echostream[onnx]` brings, and a graph of `echostream export`.
"""

from echostream.backends.onnx.graph import METADATA, OnnxError
from echostream.backends.onnx.network import INT8, STEP, OnnxEncoder, OnnxNetwork

__all__ = ["INT8", "METADATA", "STEP", "OnnxEncoder", "OnnxError", "OnnxNetwork"]
