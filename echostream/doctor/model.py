"""What a model folder can do: which texts it writes, and whether it speaks."""

from __future__ import annotations

from pathlib import Path

from echostream.model_folder import Model, load_model
from echostream.session_config import DECODING_METHODS, MAX_REFINE_STEPS, POLICIES, SessionConfig
from echostream.speech_folder import UNIT_DECODER, VOCODER


def describe_model(folder: Path) -> tuple[bool, list[str]]:
    """Whether the model of a folder can be loaded, and a line for each thing to know about it."""
    try:
        model = load_model(folder)
    except ValueError as error:
        return False, [f"it cannot be loaded: {error}"]
    decodes = bool(model.config.decoder_layers)
    methods = DECODING_METHODS[: 1 + decodes]
    policies = f", and for decoder the policies {POLICIES}" if decodes else ""
    look_aheads = ", ".join(map(str, model.config.max_future_frames))
    return True, [
        f"it translates, with the look-aheads L = {look_aheads} and the decoding methods "
        f"{', '.join(methods)}{policies}.",
        _speech(model),
    ]


def _speech(model: Model) -> str:
    speech = model.speech
    if speech is None:
        return f"it does not speak: its folder has no folders {UNIT_DECODER} and {VOCODER}."
    decoder = speech.unit_decoder
    refiner = "no refiner"
    if speech.refiner is not None:
        default = SessionConfig.refine_steps
        refiner = f"a refiner, `--refine-steps` 0 to {MAX_REFINE_STEPS} (default: {default})"
    vocoder = "a vocoder"
    if speech.vocoder is None:
        vocoder = "a CodeHiFiGAN for them that agents/s2st.py gets by `--vocoder`"
    return f"it speaks: {decoder.num_units} units of {decoder.units}, {refiner}, and {vocoder}."
