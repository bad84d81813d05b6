"""The text decoder on its own: greedy decoding of whole recordings, not limited by the ST head."""

from __future__ import annotations

import torch
from torch import Tensor

from echostream.models.echostream import CtcOutput
from echostream.models.text_decoder import BOUNDARY_ID, DecoderState, TextDecoder
from echostream.streaming.state import map_state


@torch.inference_mode()
def decode_freely(decoder: TextDecoder, output: CtcOutput) -> list[list[int]]:
    """The tokens of each recording of a batch, up to the boundary that the decoder writes itself.

    All frames are there when the first token is predicted, so this shows what the decoder has
    learned even while the ST head, whose counts limit it in a stream, writes only blanks. A token
    attends to what it attends to in a stream: the last `window` frames and the summaries of those
    before. A text that does not end has half as many tokens as the recording has frames, the most
    that a text may have in training.
    """
    counts = output.valid.sum(1).tolist()
    state = map_state(
        lambda *rows: torch.cat(rows),
        *(_read(decoder, output, row, count) for row, count in enumerate(counts)),
    )
    texts: list[list[int]] = [[] for _ in counts]
    unfinished = {row for row, count in enumerate(counts) if count >= 2}
    while unfinished:
        tokens, state = decoder.decode_next(state)
        for row, token in enumerate(tokens.tolist()):
            if row not in unfinished:
                continue
            if token != BOUNDARY_ID:
                texts[row].append(token)
            if token == BOUNDARY_ID or len(texts[row]) == counts[row] // 2:
                unfinished.remove(row)
    return texts


def _read(decoder: TextDecoder, output: CtcOutput, row: int, count: int) -> DecoderState:
    """The state of the decoder after all frames of a recording, before its first token."""

    def mine(field: Tensor) -> Tensor:
        return field[row : row + 1, :count]

    return decoder.append_encoder_out(
        mine(output.st_frames), mine(output.valid), decoder.init_state(1)
    )
