"""Causal convolutions with a cache of past frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.modules.activation import swoosh_r
from echostream.modules.norm import BiasNorm
from echostream.ranges import check_size


class ConvState(NamedTuple):
    """The past input frames in the receptive field of the next output frame."""

    past: Tensor  # (B, P, C), zeros at the start of a stream, like the padding of a convolution


class ConvEmbed(nn.Module):
    """The first layer: 100 Hz fbank to 50 Hz frames, `(B, 2 T, F)` to `(B, T, D)`.

    A convolution of kernel 3 and stride 2, padded on the left only, BiasNorm and SiLU. Frame t
    reads input frames 2t-1, 2t and 2t+1.
    """

    def __init__(self, input_dim: int, embed_dim: int) -> None:
        super().__init__()
        check_size("input_dim", input_dim)
        check_size("embed_dim", embed_dim)
        self.input_dim = input_dim
        self.conv = nn.Conv1d(input_dim, embed_dim, kernel_size=3, stride=2)
        self.norm = BiasNorm(embed_dim)

    def init_state(self, batch_size: int) -> ConvState:
        """The state of `batch_size` new streams."""
        return ConvState(self.conv.weight.new_zeros(batch_size, 1, self.input_dim))

    def forward(self, x: Tensor) -> Tensor:
        return self._embed(functional.pad(x, (0, 0, 1, 0)))

    def step(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        """One chunk of an even number of frames."""
        x = torch.cat([state.past, x], dim=1)
        return self._embed(x), ConvState(x[:, -1:])

    def _embed(self, x: Tensor) -> Tensor:
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)  # (B, 2T+1, F) -> (B, T, D)
        # torch.export simplifies 2T/2 but not the Conv1d length formula, so the length is written
        # out. contiguous(): the layers after it are 20 % slower on the transposed layout.
        y = y.reshape(x.shape[0], (x.shape[1] - 1) // 2, -1).contiguous()
        return functional.silu(self.norm(y))


class CausalConvModule(nn.Module):
    """Convolution module of a Zipformer block, `(B, T, D)` to `(B, T, D)`.

    Linear, causal depthwise convolution over the last `kernel_size` frames, SwooshR, linear.
    Frames that are not valid enter the convolution as zeros, like the frames before the stream.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        check_size("dim", dim)
        check_size("kernel_size", kernel_size)
        self.dim = dim
        self.kernel_size = kernel_size
        self.linear_in = nn.Linear(dim, dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.linear_out = nn.Linear(dim, dim)

    def init_state(self, batch_size: int) -> ConvState:
        """The state of `batch_size` new streams."""
        past = self.linear_in.weight.new_zeros(batch_size, self.kernel_size - 1, self.dim)
        return ConvState(past)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        frames = functional.pad(self._project(x, valid), (0, 0, self.kernel_size - 1, 0))
        return self._convolve(frames, x.shape)

    def step(self, x: Tensor, valid: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        """One chunk of any length."""
        frames = torch.cat([state.past, self._project(x, valid)], dim=1)
        past = frames[:, valid.shape[1] :]
        return self._convolve(frames, x.shape), ConvState(past)

    def _project(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.linear_in(x).reshape(*valid.shape, -1)  # (B * T, D) -> (B, T, D)
        return torch.where(valid[..., None], x, 0.0)

    def _convolve(self, frames: Tensor, shape: torch.Size) -> Tensor:
        # conv2d, because its kernels take channels-last input without a copy.
        image = frames.transpose(1, 2)[:, :, None]  # (B, T+K-1, D) -> (B, D, 1, T+K-1)
        kernel, bias = self.depthwise.weight[:, :, None], self.depthwise.bias
        assert bias is not None
        image = functional.conv2d(image, kernel, bias - swoosh_r.shift, groups=self.dim)
        x = image.squeeze(2).transpose(1, 2).reshape(shape)  # (B, D, 1, T) -> (B, T, D)
        return self.linear_out(swoosh_r.of_shifted(x))  # type: ignore[no-any-return]
