"""Errors that PyTorch and zipfile were seen to raise for files that hold no weights."""

from __future__ import annotations

import pickle
import zipfile
import zlib

UNREADABLE = (
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    ImportError,
    OSError,
    zipfile.BadZipFile,
    NotImplementedError,
    zlib.error,
)
