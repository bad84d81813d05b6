"""Every streaming module from frames to text passes the laws of `contract.py`.

Those of speech: `test_speech_contract.py`; the chain: `test_chain.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from contract import CHUNKS, Streaming, assert_close, check_contract, randomised, run
from torch import Tensor, nn

from echostream import ZipformerEncoder
from echostream.models.ctc import AsrHead, StHead
from echostream.models.echostream import EchoStreamModel
from echostream.models.text_decoder import DecoderState, TextDecoder
from echostream.models.zipformer_block import ZipformerBlock, ZipformerStack
from echostream.modules.attention import AttentionState, CTSelfAttention
from echostream.modules.conv import CausalConvModule, ConvEmbed
from echostream.modules.masks import length_mask
from echostream.modules.memory_bank import MemoryBank
from echostream.modules.transformer import TransformerLayer

WIDTH, HEADS, FFN, KERNEL = 8, 2, 16, 5


def embed() -> Streaming:
    module = randomised(ConvEmbed(6, WIDTH))
    return Streaming(
        module, 6, 16, 8,
        forward=lambda x, valid: module(x),
        init_state=module.init_state,
        step=lambda x, valid, state: module.step(x, state),
        context=1, within_group=False,
    )  # fmt: skip


def conv() -> Streaming:
    module = randomised(CausalConvModule(WIDTH, KERNEL))
    return Streaming(
        module,
        WIDTH,
        2,
        2,
        module.forward,
        module.init_state,
        module.step,
        context=3,
        within_group=False,
    )


def with_look_ahead(
    module: nn.Module, look_ahead: int, group: int, context: int, step: Callable[..., Any]
) -> Streaming:
    return Streaming(
        module, WIDTH, group, group,
        forward=lambda x, valid: module(x, valid, look_ahead),
        init_state=lambda batch_size: module.init_state(batch_size, look_ahead),
        step=step,
        context=context, look_ahead=look_ahead,
    )  # fmt: skip


def attention(look_ahead: int, group: int = 4) -> Streaming:
    module = randomised(CTSelfAttention(WIDTH, HEADS, group, 3 * group, max_look_ahead=2))
    return with_look_ahead(module, look_ahead, group, context=3, step=module.step)


def transformer() -> Streaming:
    module = randomised(TransformerLayer(WIDTH, HEADS, FFN, 4, 12))
    return Streaming(module, WIDTH, 4, 4, module.forward, module.init_state, module.step, context=3)


def block(look_ahead: int) -> Streaming:
    module = randomised(ZipformerBlock(WIDTH, HEADS, FFN, KERNEL, 4, 12, max_look_ahead=2))
    return with_look_ahead(
        module, look_ahead, group=4, context=4, step=lambda *chunk: module.step(*chunk)[::2]
    )


def stack(look_ahead: int) -> Streaming:
    sizes = (WIDTH, HEADS, FFN, KERNEL, 2, 4)
    blocks = (ZipformerBlock(*sizes, max_look_ahead=ahead) for ahead in (2, 0))
    module = randomised(ZipformerStack(blocks))
    return with_look_ahead(
        module, look_ahead, group=2, context=8, step=lambda *chunk: module.step(*chunk)[::2]
    )


def memory_bank() -> Streaming:
    module = randomised(MemoryBank(WIDTH, HEADS, memory_size=2, group=4, left_context=8))
    return Streaming(
        module, WIDTH, 4, 4,
        forward=lambda x, valid: module(x, valid)[0],
        init_state=module.init_state,
        step=module.step,
        context=2 + 8 * 3,
    )  # fmt: skip


def small_encoder(max_future_frames: int = 0) -> ZipformerEncoder:
    return ZipformerEncoder(
        input_dim=6, embed_dim=WIDTH, num_heads=HEADS, ffn_dim=FFN,
        num_layers_per_stack=(2, 1, 1, 1, 1, 1), memory_size=2,
        max_future_frames=max_future_frames, conv_kernel=3, left_context=8,
    )  # fmt: skip


def encoder(look_ahead: int) -> Streaming:
    module = randomised(small_encoder())
    return Streaming(
        module, 6, 16, 4,
        forward=lambda x, valid: module(x, valid.sum(1), look_ahead).encoder_out,
        init_state=lambda batch_size: module.init_state(batch_size, look_ahead),
        step=lambda x, valid, state: module.step(x, state, valid),
        context=26, look_ahead=look_ahead,
    )  # fmt: skip


def st_head() -> Streaming:
    module = randomised(StHead(WIDTH, HEADS, FFN, 2, 8, 5, 7))
    source = torch.randn(WIDTH, 5, dtype=torch.float64)

    def step(x: Tensor, valid: Tensor, state: object) -> tuple[Tensor, object]:
        logits, frames, state = module.step(x, x @ source, valid, state)
        return torch.cat([logits, frames], dim=2), state

    return Streaming(
        module, WIDTH, 4, 4,
        forward=lambda x, valid: torch.cat(module(x, x @ source, valid), dim=2),
        init_state=module.init_state,
        step=step,
        context=4,
    )  # fmt: skip


def model(look_ahead: int) -> Streaming:
    module = randomised(
        EchoStreamModel(small_encoder(), AsrHead(WIDTH, 5), StHead(WIDTH, HEADS, FFN, 1, 8, 5, 7))
    )

    def step(x: Tensor, valid: Tensor, state: object) -> tuple[Tensor, object]:
        output, state = module.step(x, state, valid)
        return torch.cat([output.asr_logits, output.st_logits], dim=2), state

    def forward(x: Tensor, valid: Tensor) -> Tensor:
        output = module(x, valid.sum(1), look_ahead)
        return torch.cat([output.asr_logits, output.st_logits], dim=2)

    return Streaming(
        module, 6, 16, 4, forward,
        lambda batch_size: module.init_state(batch_size, look_ahead), step,
        context=26, look_ahead=look_ahead,
    )  # fmt: skip


def text_decoder() -> Streaming:
    """One token after each group, whatever the decoder would have written: token i is i mod 5."""
    decoder = TextDecoder(WIDTH, HEADS, FFN, 2, 5, left_tokens=3, window=8, memory_size=2)
    module = randomised(decoder)

    def forward(x: Tensor, valid: Tensor) -> Tensor:
        groups = torch.arange(x.shape[1] // 4).expand(len(x), -1)
        return module(x, valid, groups % 5, groups + 1)

    def init_state(batch_size: int) -> tuple[DecoderState, Tensor]:
        return module.init_state(batch_size), torch.zeros(batch_size, dtype=torch.int64)

    def step(
        x: Tensor, valid: Tensor, state: tuple[DecoderState, Tensor]
    ) -> tuple[Tensor, tuple[DecoderState, Tensor]]:
        decoder, count = state
        logits = []
        for start in range(0, x.shape[1], 4):
            group = slice(start, start + 4)
            decoder = module.append_encoder_out(x[:, group], valid[:, group], decoder)
            decoder = decoder._replace(last_token=count % 5)
            found, _, layers = module._next(decoder)
            decoder, count = decoder._replace(layers=layers), count + 1
            logits.append(found)
        return torch.stack(logits, dim=1), (decoder, count)

    return Streaming(module, WIDTH, 4, 1, forward, init_state, step, context=3 + 8 * 3)


CASES: dict[str, Callable[[], Streaming]] = {
    "embed": embed,
    "conv": conv,
    "transformer": transformer,
    "memory_bank": memory_bank,
    "st_head": st_head,
    "text_decoder": text_decoder,
}
for L in (0, 1, 2):
    CASES[f"attention L={L}"] = lambda L=L: attention(L)
    CASES[f"attention of single frames L={L}"] = lambda L=L: attention(L, group=1)
    CASES[f"block L={L}"] = lambda L=L: block(L)
    CASES[f"stack L={L}"] = lambda L=L: stack(L)
    CASES[f"encoder L={L}"] = lambda L=L: encoder(L)
    CASES[f"model L={L}"] = lambda L=L: model(L)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_module_passes_the_laws(name: str, chunks: list[int]) -> None:
    check_contract(CASES[name](), chunks)


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
@pytest.mark.parametrize("num_frames", [*range(27, 38), *range(59, 70), 160, 163])
def test_finish_completes_exactly_the_output_of_forward(num_frames: int, look_ahead: int) -> None:
    module = randomised(small_encoder())
    x = torch.randn(2, num_frames, 6, dtype=torch.float64)
    with torch.no_grad():
        whole = module(x, torch.full((2,), num_frames), look_ahead)
        state = module.init_state(2, look_ahead)
        outputs = []
        for start in range(0, num_frames - num_frames % 16, 16):
            y, state = module.step(x[:, start : start + 16], state)
            outputs.append(y)
        tail = x[:, num_frames - num_frames % 16 :]
        y, state = module.finish(state, tail if tail.shape[1] else None)
    streamed = torch.cat([*outputs, y], dim=1)[:, 4 * look_ahead :]
    assert streamed.shape == whole.encoder_out.shape == (2, num_frames // 4, WIDTH)
    assert_close(streamed, whole.encoder_out, "finish is not forward")
    assert_close(state.memory.bank, whole.carry_over, "the memory bank is another")


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_padding_has_no_influence(look_ahead: int) -> None:
    module = randomised(small_encoder())
    lengths = [16, 33, 47, 64, 160]
    x = torch.randn(len(lengths), 160, 6, dtype=torch.float64)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = float("nan")
    with torch.no_grad():
        together = module(x, torch.tensor(lengths), look_ahead)
        for row, length in enumerate(lengths):
            alone = module(x[row : row + 1, :length], torch.tensor([length]), look_ahead)
            found = together.encoder_out[row : row + 1, : length // 4]
            assert_close(found, alone.encoder_out, f"length {length} in a batch")
            assert_close(together.carry_over[row : row + 1], alone.carry_over, "carry-over")


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_latency_is_the_one_declared_to_the_frame(look_ahead: int) -> None:
    module = randomised(small_encoder(max_future_frames=look_ahead))
    latency = module.algorithmic_latency_ms // 10  # in fbank frames
    assert latency == 16 * (1 + look_ahead)
    x = torch.randn(1, 640, 6, dtype=torch.float64)
    group = 20
    start = 16 * group  # the first output of a group waits longest: for its whole group and L more
    with torch.no_grad():
        whole = module(x, torch.tensor([640])).encoder_out
        for moved, should_change in ((start + latency - 1, True), (start + latency, False)):
            other = x.clone()
            other[:, moved] += 1.0
            change = (module(other, torch.tensor([640])).encoder_out - whole)[
                :, : start // 4 + 1
            ].abs()
            assert bool(change[:, -1].amax() > 1e-6) is should_change
            assert change[:, :-1].amax() < 1e-10 or should_change


def test_the_laws_notice_a_cache_that_is_trimmed_before_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order "use, then trim" is what makes chunks of more than one group right."""

    def trim_first(
        self: CTSelfAttention, x: Tensor, valid: Tensor, state: AttentionState, memory: None = None
    ) -> tuple[Tensor, AttentionState]:
        query, key, value, _ = self._project(x, valid.shape, memory)
        cached = state.key.shape[2]
        key = torch.cat([state.key, key], dim=2)[:, :, -cached:]
        value = torch.cat([state.value, value], dim=2)[:, :, -cached:]
        valid = torch.cat([state.valid, valid], dim=1)[:, -cached:]
        y = self._attend(query, key, value, valid, (0, x.shape[1] - cached), 0, None)
        return self.project_out(y.flatten(2)), AttentionState(key, value, valid, state.query)

    monkeypatch.setattr(CTSelfAttention, "step", trim_first)
    with pytest.raises(AssertionError, match="step is not forward"):
        check_contract(attention(0), [2])


def test_streams_of_one_batch_may_be_at_different_positions() -> None:
    """Law 3 for a batch whose streams began at different times: rows are selected outside."""
    from echostream.streaming import select_rows

    case = encoder(1)
    x = torch.randn(2, 16 * 30, 6, dtype=torch.float64)
    valid = torch.ones(2, 16, dtype=torch.bool)
    with torch.no_grad():
        wanted = [run(case, x[row : row + 1], [1])[1] for row in range(2)]
        state = case.init_state(2)
        for turn in range(36):
            groups = [turn, turn - 5]
            active = torch.tensor([0 <= index < 31 for index in groups])
            frames = torch.stack([_group(x[row], index) for row, index in enumerate(groups)])
            real = torch.tensor([[0 <= index < 30] for index in groups])
            state = select_rows(active, case.step(frames, valid & real, state)[1], state)
    for row in range(2):
        assert_close(state.memory.bank[row : row + 1], wanted[row].memory.bank, f"stream {row}")


def _group(stream: Tensor, index: int) -> Tensor:
    inside = 0 <= index < stream.shape[0] // 16
    return (
        stream[16 * index : 16 * index + 16]
        if inside
        else torch.zeros(16, stream.shape[1], dtype=stream.dtype)
    )


def test_float32_step_is_forward_as_shipped() -> None:
    module = randomised(small_encoder()).float()
    x = torch.randn(2, 16 * 40, 6)
    with torch.no_grad():
        whole = module(x, torch.full((2,), 640), 1).encoder_out
        state = module.init_state(2, 1)
        outputs = []
        for start in range(0, 640, 32):
            y, state = module.step(x[:, start : start + 32], state)
            outputs.append(y)
        y, state = module.finish(state)
    streamed = torch.cat([*outputs, y], dim=1)[:, 4:]
    assert_close(streamed, whole, "float32", tolerance=1e-4)


def test_length_mask_is_true_for_the_first_frames() -> None:
    assert length_mask(torch.tensor([0, 2]), 3).tolist() == [[False] * 3, [True, True, False]]
