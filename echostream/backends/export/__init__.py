"""Export from PyTorch to ONNX: the graph of one step, for ONNX Runtime and other runtimes.

Needs the extra `export` (onnx, onnxscript, onnxruntime).
"""

from echostream.backends.export.check import ExportError
from echostream.backends.export.model import export_encoder, export_model

__all__ = ["ExportError", "export_encoder", "export_model"]
