"""Builds modules from a configuration."""

from __future__ import annotations

from echostream.config import EncoderConfig, ModelConfig
from echostream.models.ctc import AsrHead, StHead
from echostream.models.echostream import EchoStreamModel, resolve_max_future_frames
from echostream.models.text_decoder import TextDecoder
from echostream.models.zipformer import ZipformerEncoder


def build_encoder(config: EncoderConfig, max_future_frames: int = 0) -> ZipformerEncoder:
    """An encoder with new weights; `max_future_frames` is its default L."""
    return ZipformerEncoder(
        input_dim=config.input_dim,
        embed_dim=config.embed_dim,
        num_heads=config.num_heads,
        ffn_dim=config.ffn_dim,
        num_layers_per_stack=config.num_layers_per_stack,
        memory_size=config.memory_size,
        max_future_frames=max_future_frames,
        conv_kernel=config.conv_kernel,
        left_context=config.left_context,
    )


def build_decoder(config: ModelConfig) -> TextDecoder:
    """A text decoder with new weights."""
    return TextDecoder(
        dim=config.encoder.embed_dim,
        num_heads=config.encoder.num_heads,
        ffn_dim=config.decoder_ffn_dim,
        num_layers=config.decoder_layers,
        vocab_size=config.target_vocab_size,
        left_tokens=config.decoder_left_tokens,
        window=config.decoder_window,
        memory_size=config.encoder.memory_size,
    )


def build_model(config: ModelConfig) -> EchoStreamModel:
    """A network with new weights."""
    dim = config.encoder.embed_dim
    return EchoStreamModel(
        build_encoder(config.encoder, resolve_max_future_frames(None, config.max_future_frames)),
        AsrHead(dim, config.source_vocab_size),
        StHead(
            dim,
            config.encoder.num_heads,
            config.st_ffn_dim,
            config.st_layers,
            config.st_left_context,
            config.source_vocab_size,
            config.target_vocab_size,
        ),
        config.max_future_frames,
        build_decoder(config) if config.decoder_layers else None,
    )
