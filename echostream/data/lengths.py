"""The rule of which recordings are long enough for their text."""

from __future__ import annotations

from echostream.streaming.clock import HOP_LENGTH, OUTPUT_STRIDE, SAMPLE_RATE


def num_frames(seconds: float, tail_ms: int) -> int:
    """Fbank frames of a recording with `tail_ms` of silence after it, as in training."""
    return (round(seconds * SAMPLE_RATE) + tail_ms * SAMPLE_RATE // 1000) // HOP_LENGTH


def is_long_enough(num_frames: int, num_pieces: int) -> bool:
    """Whether there are two encoder frames (80 ms) for every piece, and two at least.

    CTC needs a frame for each piece and one for each blank between equal pieces; with two for each
    there is always room.
    """
    return num_frames // OUTPUT_STRIDE >= 2 * max(num_pieces, 1)
