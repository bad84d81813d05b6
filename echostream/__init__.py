"""EchoStream: simultaneous speech translation with a state of constant size.

Shapes are written with B streams, T frames, D width, H heads, M memory slots, V vocabulary and
S samples; always batch first, time second, width last.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from echostream._version import __version__

if TYPE_CHECKING:
    from echostream.model_folder import Model, load_model
    from echostream.models import ZipformerEncoder
    from echostream.session.batch import StreamBatch
    from echostream.session.translator import Output, StreamingTranslator, joined_text

__all__ = [
    "Model",
    "Output",
    "StreamBatch",
    "StreamingTranslator",
    "ZipformerEncoder",
    "__version__",
    "joined_text",
    "load_model",
]

_HOMES = {
    "Model": "echostream.model_folder",
    "Output": "echostream.session.translator",
    "StreamBatch": "echostream.session.batch",
    "StreamingTranslator": "echostream.session.translator",
    "ZipformerEncoder": "echostream.models",
    "joined_text": "echostream.session.translator",
    "load_model": "echostream.model_folder",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first access, so that reading the version does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'echostream' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """All public names, imported or not."""
    return sorted({*globals(), *__all__})
