"""The clock of the encoder: the group, 160 ms of audio (icefall and sherpa call it a chunk).

The bottleneck of the U-Net runs at 6.25 Hz. No output frame can be computed before the bottleneck
frame that covers it is complete, so all masks and latencies are whole groups.
"""

from __future__ import annotations

SAMPLE_RATE = 16_000  # Hz, of the input of the filter bank
HOP_LENGTH = 160  # samples between two fbank frames: 100 frames a second
GROUP_FRAMES = 16  # fbank frames in a group
GROUP_MS = 1000 * GROUP_FRAMES * HOP_LENGTH // SAMPLE_RATE  # 160
OUTPUT_STRIDE = 4  # fbank frames for each output frame of the encoder (25 Hz)
GROUP_OUTPUTS = GROUP_FRAMES // OUTPUT_STRIDE  # encoder frames in a group

UNIT_SAMPLES = 320  # samples of a discrete unit of target speech: 50 units a second
UNIT_MS = 1000 * UNIT_SAMPLES // SAMPLE_RATE  # 20
GROUP_UNITS = GROUP_MS // UNIT_MS  # 8


def algorithmic_latency_ms(max_future_frames: int) -> int:
    """The latency of an encoder with a look-ahead of L groups: `160 (1 + L)` ms."""
    return GROUP_MS * (1 + max_future_frames)
