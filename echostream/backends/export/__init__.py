"""From PyTorch to ONNX: the graph of one step, for ONNX Runtime and whoever else reads it.

Needs the extra `export` (onnx, onnxscript, onnxruntime).
"""

from echostream.backends.export.check import ExportError
from echostream.backends.export.model import export_encoder, export_model

__all__ = ["ExportError", "export_encoder", "export_model"]
