"""The ONNX Runtime back end: the step of an exported network or encoder.

Needs the extra `onnx` (onnxruntime) and a graph written by `echostream export`.
"""

from echostream.backends.onnx.graph import METADATA, OnnxError
from echostream.backends.onnx.network import INT8, STEP, OnnxEncoder, OnnxNetwork

__all__ = ["INT8", "METADATA", "STEP", "OnnxEncoder", "OnnxError", "OnnxNetwork"]
