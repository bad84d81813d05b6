"""The generator of HiFi-GAN: frames to samples, computed for a window of a stream."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_SLOPE = 0.1  # of the leaky ReLUs, but for the last one
_LAST_SLOPE = 0.01
_END_KERNEL = 7  # of the first and the last convolution


class HiFiGANGenerator(nn.Module):
    """The generator of HiFi-GAN, `(B, D, context + T + context)` to samples `(B, hop * T)`.

    A convolution, then stages of a transposed convolution and the mean of residual blocks with
    different kernels, and a last convolution. (Kong et al. 2020, HiFi-GAN, arXiv 2010.05646.)

    The convolutions do not pad. Each layer computes the frames on which the T frames in the middle
    depend, and no more: the first layer nearly all, the last ones few beyond the middle. Frames
    outside the stream are zeros in the input of each layer, as the padding is when the whole
    recording is computed at once; so the result is the same as then.

    Args:
        input_dim: width D of a frame.
        initial_channels: width after the first convolution; each stage halves it.
        upsample_rates: of the stages; `hop` is their product.
        upsample_kernel_sizes: of the transposed convolutions; kernel minus rate is even.
        resblock_kernel_sizes: odd, of the residual blocks in a stage.
        resblock_dilation_sizes: for each of these blocks the dilations of its layers.
    """

    def __init__(
        self,
        input_dim: int,
        initial_channels: int,
        upsample_rates: Sequence[int],
        upsample_kernel_sizes: Sequence[int],
        resblock_kernel_sizes: Sequence[int],
        resblock_dilation_sizes: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        self.hop = math.prod(upsample_rates)
        shapes = list(zip(resblock_kernel_sizes, resblock_dilation_sizes, strict=True))
        reach = max(_reach(kernel, dilations) for kernel, dilations in shapes)

        # From the last layer to the first: how many frames on either side of the middle ones the
        # rest of the network reads. A stage reads `before` and gives `after`.
        ups, self.margins = [], [_END_KERNEL // 2]
        for stage in reversed(range(len(upsample_rates))):
            rate, kernel = upsample_rates[stage], upsample_kernel_sizes[stage]
            channels = initial_channels >> stage
            margin = self.margins[0] + reach  # of the output of the transposed convolution
            before = (margin + (kernel + rate) // 2 - 1) // rate
            unread = before * rate + (kernel - rate) // 2 - margin
            ups.append(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=unread))
            self.margins.insert(0, before)
        self.context = self.margins[0] + _END_KERNEL // 2

        self.conv_pre = nn.Conv1d(input_dim, initial_channels, _END_KERNEL)
        self.ups = nn.ModuleList(reversed(ups))
        self.resblocks = nn.ModuleList(
            ResidualBlock(initial_channels >> (stage + 1), kernel, dilations)
            for stage in range(len(ups))
            for kernel, dilations in shapes
        )
        self.conv_post = nn.Conv1d(initial_channels >> len(ups), 1, _END_KERNEL)
        self._rates = tuple(upsample_rates)
        self._num_blocks = len(shapes)  # in a stage

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Samples of the frames in the middle; `valid` `(B, context + T + context)` is the stream.

        Samples of frames in the middle that are not valid mean nothing.
        """
        length = valid.shape[1] - 2 * self.context
        mask = None if bool(valid.all()) else valid[:, None].to(x.dtype)
        x = self.conv_pre(_masked(x, mask))  # (B, D, 2 context + T) -> (B, C, T + 2 before)
        for stage, (up, rate) in enumerate(zip(self.ups, self._rates, strict=True)):
            x = up(functional.leaky_relu(_masked(x, mask), _SLOPE))
            length *= rate
            mask = None if mask is None else mask.repeat_interleave(rate, dim=2)
            width = length + 2 * self.margins[stage + 1]
            x = self._mean_of_blocks(stage, x, mask, width)  # (B, C / 2, rate T + 2 after)
        x = self.conv_post(functional.leaky_relu(_masked(x, mask), _LAST_SLOPE))
        return torch.tanh(x[:, 0])  # (B, 1, hop T) -> (B, hop T)

    def _mean_of_blocks(self, stage: int, x: Tensor, mask: Tensor | None, width: int) -> Tensor:
        first = stage * self._num_blocks
        total: Tensor | None = None
        for block in self.resblocks[first : first + self._num_blocks]:
            assert isinstance(block, ResidualBlock)
            y = block(_middle(x, width + 2 * block.reach), mask)
            total = y if total is None else total + y
        assert total is not None
        return total / self._num_blocks


class ResidualBlock(nn.Module):
    """Pairs of convolutions, one dilated and one not, each pair added to its own input.

    `(B, C, T + 2 reach)` to `(B, C, T)`.
    """

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.reach = _reach(kernel_size, dilations)
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, dilation=dilation) for dilation in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size) for _ in dilations
        )  # fmt: skip

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            y = dilated(functional.leaky_relu(_masked(x, mask), _SLOPE))
            y = plain(functional.leaky_relu(_masked(y, mask), _SLOPE))
            x = _middle(x, y.shape[2]) + y
        return x


def _reach(kernel_size: int, dilations: Sequence[int]) -> int:
    """The frames on either side of a frame on which the output of a residual block depends."""
    return sum((kernel_size - 1) // 2 * (dilation + 1) for dilation in dilations)


def _middle(x: Tensor, width: int) -> Tensor:
    """The middle `width` frames of the last axis."""
    return x.narrow(-1, (x.shape[-1] - width) // 2, width)


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zeros outside the stream; `mask` `(B, 1, T)` may be wider than `x`, on both sides."""
    return x if mask is None else x * _middle(mask, x.shape[2])
