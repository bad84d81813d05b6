"""Modules whose weights are not drawn, because they are about to be read from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = {
    nn.init.uniform_,
    nn.init.normal_,
    nn.init.kaiming_uniform_,
    Tensor.normal_,
    Tensor.mul_,
    Tensor.fill_,
    Tensor.zero_,
}


class _NoDraws(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _DRAWS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules built inside have parameters of whatever lay in memory, whose pages nobody touches.

    No random number is drawn. Whoever uses it must set every parameter.
    """
    with _NoDraws(), torch.no_grad():
        yield
