"""The extras of setup.py: the optional libraries that each installs, and the error without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# By extra, the names under which its libraries are imported.
LIBRARIES = {
    "train": ("tensorboard", "tqdm"),
    "eval": ("matplotlib",),
    "yaal": ("omnisteval",),
    "simulstream": ("simulstream",),
    "serve": ("starlette", "uvicorn", "websockets", "prometheus_client"),
    "ray": ("ray", "starlette", "prometheus_client", "websockets"),
    "mic": ("sounddevice", "websockets"),
    "voices": ("onnxruntime",),
    "corpus": ("onnx", "onnxruntime"),
    "units": ("sklearn",),
    "judge": ("ctranslate2",),
    "peers": ("faster_whisper",),
    "onnx": ("onnxruntime",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
}


class ExtraError(ImportError):
    """An optional library that cannot be imported; the message is one line and names its extra."""


def how_to_install(extra: str) -> str:
    """The end of a sentence: how the libraries of an extra are installed."""
    return f'`pip install ".[{extra}]"` in a clone of EchoStream'


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Context for importing libraries of the extra `name`, which `purpose` needs.

    Raises:
        ExtraError: for an ImportError of another module than EchoStream's.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, ExtraError) or (error.name or "").startswith("echostream."):
            raise
        libraries = " and ".join(LIBRARIES[name])
        reason = " ".join(str(error).split())
        raise ExtraError(
            f"{purpose} needs {libraries}: {how_to_install(name)} ({reason})"
        ) from error
