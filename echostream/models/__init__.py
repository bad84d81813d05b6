"""The encoder, the CTC heads, and the network made of them."""

from echostream.config import BLANK_ID
from echostream.models.build import build_encoder, build_model
from echostream.models.echostream import CtcOutput, EchoStreamModel, ModelState
from echostream.models.zipformer import EncoderOutput, EncoderState, ZipformerEncoder

__all__ = [
    "BLANK_ID",
    "CtcOutput",
    "EchoStreamModel",
    "EncoderOutput",
    "EncoderState",
    "ModelState",
    "ZipformerEncoder",
    "build_encoder",
    "build_model",
]
