"""The text decoder and its policies as a slow reference: the whole past is recomputed each time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Protocol, cast

import torch
from slow_reference import greedy_ctc
from tiny_model import babble
from torch import Tensor

from echostream.frontend.fbank import fbank
from echostream.model_folder import Model
from echostream.models import CtcOutput
from echostream.models.text_decoder import BOUNDARY_ID, TextDecoder
from echostream.modules.cross_attention import CrossAttention, EncoderContext
from echostream.modules.decoder_layer import DecoderLayer
from echostream.session.decoder_policy import MAX_EXTRA_TOKENS, MAX_MORE_TOKENS, MAX_RATIO
from echostream.session.decoding import DecodingMethod
from echostream.session.policy import Counts, PolicyState, decide
from echostream.session.settings import SessionSettings
from echostream.session_config import SessionConfig
from echostream.text.tokenizer import Tokenizer

PAUSE = 4  # groups: 640 ms


def encode(model: Model, seconds: float, seed: int = 0, look_ahead: int = 0) -> CtcOutput:
    """The network's output for a recording in one pass, cut to whole groups."""
    frames = torch.from_numpy(model.cmvn.apply(fbank(babble(seconds, seed))))[None]
    frames = frames[:, : frames.shape[1] // 16 * 16]
    with torch.inference_mode():
        return model.network(frames, torch.tensor([frames.shape[1]]), look_ahead)


def part(output: CtcOutput, start: int, stop: int) -> CtcOutput:
    """The groups from `start` to `stop`."""
    return CtcOutput(*(field[:, 4 * start : 4 * stop] for field in output))


def silence(output: CtcOutput, start: int, stop: int) -> CtcOutput:
    """The same, but both heads give blanks in the groups from `start` to `stop`."""
    logits = [output.asr_logits.clone(), output.st_logits.clone()]
    for head in logits:
        head[:, 4 * start : 4 * stop, 1:] -= 1e4
    return output._replace(asr_logits=logits[0], st_logits=logits[1])


def method_of(model: Model, name: str = "decoder", **options: Any) -> DecodingMethod:
    """The decoding method of a session with these options."""
    return SessionSettings(model, SessionConfig(decoding_method=name, **options)).method


@torch.inference_mode()
def write(method: DecodingMethod, output: CtcOutput, cuts: list[int]) -> list[tuple[int, int]]:
    """Each target token with the last group of the chunk after which it came out."""
    state, num_groups = method.init_state(1), output.valid.shape[1] // 4
    pending, written = list[int](), list[tuple[int, int]]()
    for start, stop in [*pairwise([0, *cuts, num_groups]), (num_groups, num_groups)]:
        chunk = part(output, start, stop)
        (new,), state = method.step(chunk, state) if start < stop else method.finish(state)
        pending += new.target
        written += [(token, stop) for token in pending[: new.num_emitted]]
        del pending[: new.num_emitted]
    return written


def forbid(model: Model, by: float) -> None:
    """Makes the boundary likelier (or less likely, if negative) than all tokens."""
    assert model.network.decoder is not None
    with torch.no_grad():
        model.network.decoder.project.bias[BOUNDARY_ID] += by


class Rule(Protocol):
    """A policy; `source` and `target` are all tokens since the last pause."""

    def hear(self, source: list[int], num_asr: int, num_st: int, ends: bool) -> None: ...

    def allows(self, target: list[int], token: int | None, age: int, ends: bool) -> bool: ...


class CtcRule:
    """Counts of both heads; the number of tokens alone decides."""

    def __init__(self, config: SessionConfig) -> None:
        self.config = config
        self.state = PolicyState()
        self.before = self.num_st = 0
        self.ended = False

    def hear(self, source: list[int], num_asr: int, num_st: int, ends: bool) -> None:
        if self.ended:
            self.before = self.num_st
        self.num_st, self.ended = num_st, ends
        _, self.state = decide(Counts(num_asr, num_st, ends), self.state, self.config)

    def allows(self, target: list[int], token: int | None, age: int, ends: bool) -> bool:
        allowed = self.state.num_written - self.before
        if ends and (allowed or target):
            allowed += MAX_EXTRA_TOKENS
        return len(target) < allowed


class WaitKRule:
    """K source words, then a target word for each further one."""

    def __init__(self, k: int, model: Model) -> None:
        self.k, self.model, self.source = k, model, list[int]()

    def hear(self, source: list[int], num_asr: int, num_st: int, ends: bool) -> None:
        self.source = source

    def allows(self, target: list[int], token: int | None, age: int, ends: bool) -> bool:
        heard = count_words(self.model.source_tokenizer, self.source)
        said = target if token is None else [*target, token]
        words = count_words(self.model.target_tokenizer, said)
        in_time = heard >= self.k and words <= heard - self.k + 1
        return not_too_long(self.source, target) and (ends or in_time)


class AlignAttRule:
    """A token is refused if it attends to one of the newest frames."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames, self.source = num_frames, list[int]()

    def hear(self, source: list[int], num_asr: int, num_st: int, ends: bool) -> None:
        self.source = source

    def allows(self, target: list[int], token: int | None, age: int, ends: bool) -> bool:
        newest = token is not None and age < self.num_frames
        return not_too_long(self.source, target) and (ends or not newest)


def count_words(tokenizer: Tokenizer, ids: list[int]) -> int:
    """Words that have begun."""
    text = "".join(map(tokenizer.surface, ids))
    return text.count(" ") + (bool(text) and text[0] != " ")


def not_too_long(source: list[int], target: list[int]) -> bool:
    """Whether there may be another token."""
    return bool(source) and len(target) < MAX_RATIO * len(source) + MAX_MORE_TOKENS


@torch.inference_mode()
def slow_decoder(model: Model, output: CtcOutput, rule: Rule) -> list[tuple[int, int]]:
    """Each token with the group after which it is written."""
    decoder = model.network.decoder
    assert isinstance(decoder, TextDecoder)
    num_groups = output.valid.shape[1] // 4
    written: list[tuple[int, int]] = []
    first, num_before, silent, last = 0, 0, 0, (0, 0)  # of this utterance: first group, ASR tokens
    tokens, horizons = [BOUNDARY_ID], list[int]()
    for group in [*range(1, num_groups + 1), num_groups + 1]:  # once more at the end
        stop = min(group, num_groups)
        so_far = part(output, 0, stop)
        asr, st = (
            [token for token, _ in greedy_ctc(logits[0], so_far.valid[0])]
            for logits in (so_far.asr_logits, so_far.st_logits)
        )
        silent, last = (silent + 1 if (len(asr), len(st)) == last else 0), (len(asr), len(st))
        pause = silent == PAUSE and group <= num_groups
        ends = group > num_groups or silent == PAUSE
        rule.hear(asr[num_before:], len(asr), len(st), ends)
        while rule.allows(tokens[1:], None, -1, ends):
            horizon = torch.tensor([[*horizons, stop - first]])
            best, age = predict(decoder, part(output, first, num_groups), tokens, horizon)
            if best == BOUNDARY_ID or not rule.allows(tokens[1:], best, age, ends):
                break
            tokens.append(best)
            horizons.append(stop - first)
            written.append((best, stop))
        if pause:
            first, num_before = stop - PAUSE, len(asr)
            tokens, horizons = [BOUNDARY_ID], []
    return written


def predict(
    decoder: TextDecoder, output: CtcOutput, tokens: list[int], horizon: Tensor
) -> tuple[int, int]:
    """The likeliest next token, and the age of the frame that it attends to most."""
    last = cast("DecoderLayer", decoder.layers[-1]).cross_attention
    seen: list[tuple[Tensor, EncoderContext]] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    logits = decoder(output.st_frames, output.valid, torch.tensor([tokens]), horizon)
    hook.remove()
    ((x, source),) = seen
    return int(logits[0, -1].argmax()), most_attended(last, x[0, -1], source)


def most_attended(module: CrossAttention, x: Tensor, source: EncoderContext) -> int:
    """The age of the position with the largest mean weight, of the last token; keys projected."""
    age, total = source.age[0, -1], torch.zeros(source.x.shape[1])
    queries = module.query(x).reshape(module.num_heads, -1)
    keys = module.key(source.x[0]).reshape(len(age), module.num_heads, -1)
    for head in range(module.num_heads):
        scores = keys[:, head] @ queries[head] * module.scale + module.position_bias[head, age]
        scores[~source.visible[0, -1]] = -torch.inf
        total += scores.softmax(0)
    return int(age[total.argmax()])
