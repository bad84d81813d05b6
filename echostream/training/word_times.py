"""When each source word ends, from the ASR head of a trained network (forced alignment).

The word times of real speech are not known. With those of a network that can transcribe it the ST
head has the same warm-up as on synthetic speech: an alignment loss on frame labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from echostream.config import BLANK_ID
from echostream.data.utterance import Utterance
from echostream.frontend.fbank import fbank
from echostream.model_folder import Model
from echostream.models.ctc_align import PADDING, best_alignment
from echostream.models.echostream import EchoStreamModel
from echostream.streaming.clock import SAMPLE_RATE
from echostream.training.align import split_text
from echostream.training.example import OUTPUT_RATE


@torch.inference_mode()
def word_ends(model: Model, utterances: Sequence[Utterance]) -> list[tuple[float, ...]]:
    """Seconds at which each word of the transcripts ends; () where the audio is too short for them.

    The end of a word is that of the last frame of its last piece in the most probable alignment, at
    the smallest look-ahead of the model.
    """
    network = model.network
    assert isinstance(network, EchoStreamModel)
    tail = np.zeros(model.config.tail_ms * SAMPLE_RATE // 1000, np.float32)
    unit = model.config.source_emission_unit
    pieces = [split_text(u.source or "", model.source_tokenizer, unit)[1] for u in utterances]
    frames = [
        torch.from_numpy(model.cmvn.apply(fbank(np.concatenate([u.samples, tail]))))
        for u in utterances
    ]
    lengths = torch.tensor([len(x) for x in frames])
    x = pad_sequence(frames, batch_first=True).to(network.device)
    output = network(x, lengths.to(network.device))
    tokens = [torch.tensor([p for word in words for p in word]).long() for words in pieces]
    found = best_alignment(
        output.asr_logits.float().log_softmax(-1).cpu(),
        output.valid.sum(1).cpu(),
        pad_sequence(tokens, batch_first=True, padding_value=PADDING),
        BLANK_ID,
    )
    return [_ends(row.numpy(), words) for row, words in zip(found, pieces, strict=True)]


def _ends(alignment: NDArray[np.int64], pieces: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """The end of each word in an alignment (T,), in seconds; () if a piece is not in it."""
    before = np.concatenate([[BLANK_ID], alignment[:-1]])
    is_token = (alignment != BLANK_ID) & (alignment != PADDING)
    first = np.flatnonzero(is_token & (alignment != before))  # of each run, that is, each piece
    if len(first) != sum(map(len, pieces)):
        return ()
    is_last = is_token & (np.append(alignment[1:], BLANK_ID) != alignment)
    ends = (np.flatnonzero(is_last) + 1) / OUTPUT_RATE
    last_pieces = np.cumsum(np.array([len(word) for word in pieces], np.int64)) - 1
    return tuple(ends[last_pieces].tolist())
