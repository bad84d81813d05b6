"""The ONNX Runtime back end: the steps of an exported network, and of the parts that speak.

Needs the extra `onnx` (onnxruntime) and a graph written by `echostream export`.
"""

from echostream.backends.onnx.graph import METADATA, OnnxError
from echostream.backends.onnx.network import INT8, STEP, OnnxEncoder, OnnxNetwork
from echostream.backends.onnx.speech import OnnxUnitDecoder, OnnxVocoder

__all__ = [
    "INT8",
    "METADATA",
    "STEP",
    "OnnxEncoder",
    "OnnxError",
    "OnnxNetwork",
    "OnnxUnitDecoder",
    "OnnxVocoder",
]
