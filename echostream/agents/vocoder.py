"""StreamSpeech's vocoder flags, for a model whose units are those of a CodeHiFiGAN."""

from __future__ import annotations

import logging
from argparse import Namespace
from dataclasses import replace

from echostream.model_folder import Model
from echostream.models.code_hifigan_file import load_code_hifigan
from echostream.speech_config import OWN_UNITS

logger = logging.getLogger(__name__)


def with_vocoder(model: Model, args: Namespace) -> Model:
    """The model with the vocoder of `--vocoder`, if that is one for its units.

    The units of a model with a vocoder of its own are unlike those of a CodeHiFiGAN: the flag is
    then ignored, with a warning, so that StreamSpeech's script runs with it.

    Raises:
        ValueError: naming the file, if a checkpoint cannot be used or has another number of units.
    """
    if not args.vocoder or model.speech is None:
        return model
    decoder = model.speech.unit_decoder
    if decoder.units == OWN_UNITS:
        logger.warning(
            "`--vocoder` is ignored: the units of this model are its own, and so is its vocoder."
        )
        return model
    if not args.vocoder_cfg:
        raise ValueError("`--vocoder` needs `--vocoder-cfg`, the config.json of the checkpoint.")
    vocoder = load_code_hifigan(
        args.vocoder,
        args.vocoder_cfg,
        dur_prediction=args.dur_prediction,
        lookahead_frames=args.vocoder_lookahead_frames,
    )
    if vocoder.num_units != decoder.num_units:
        raise ValueError(
            f"`--vocoder` must be for the {decoder.num_units} units of the model, but "
            f"{args.vocoder} is for {vocoder.num_units}."
        )
    return replace(model, speech=replace(model.speech, vocoder=vocoder))
