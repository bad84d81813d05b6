"""The model card: the README of a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from echostream._version import __version__
from echostream.config import to_dict
from echostream.models.echostream import EchoStreamModel
from echostream.streaming.clock import algorithmic_latency_ms
from echostream.text.normalization import TextNormalization
from echostream.training.config import DataConfig, TrainConfig
from echostream.training.validate import Scores


def model_card(
    config: TrainConfig,
    model: EchoStreamModel,
    scores: Mapping[int, Scores],
    num_dev: int,
    step: int,
    averaged: Sequence[int],
    text: TextNormalization | None = None,
) -> str:
    """The data, the number of steps, the scores on the dev set, and the configuration.

    step: of the last checkpoint. averaged: the steps of the checkpoints that the weights are of.
    text: the normalisation of the texts, if it is recorded.
    """
    parameters = sum(p.numel() for p in model.parameters())
    rows = "\n".join(
        f"| {look_ahead} | {algorithmic_latency_ms(look_ahead)} ms | {s.bleu:.1f} | {s.wer:.1f} % "
        f"| {s.exact:.0f} % |{_decoder_cells(s)}"
        for look_ahead, s in scores.items()
    )
    network = config.network
    bleu = "BLEU of characters" if network.target_emission_unit == "char" else "BLEU"
    wer = "CER" if network.source_emission_unit == "char" else "WER"
    header = f"| look-ahead L | latency of the encoder | {bleu} | {wer} "
    header += "| sentences without a mistake |"
    if model.decoder is not None:
        header += " BLEU of the decoder | its sentences without a mistake |"
    return f"""\
# A model trained by EchoStream

Made by `echostream train` (EchoStream {__version__}) in {step} steps.

- Data: {_data(config.data)}.{_text(text)}
- {parameters:,} parameters, {_origin(config, averaged)}.

Dev set, {num_dev} utterances, each decoded greedily in one pass:

{header}
|{"---|" * header.count(" | ")}---|
{rows}

The configuration:

```yaml
{yaml.safe_dump(to_dict(config), sort_keys=False).strip()}
```
"""


def _decoder_cells(scores: Scores) -> str:
    if scores.decoder_bleu is None:
        return ""
    return f" {scores.decoder_bleu:.1f} | {scores.decoder_exact:.0f} % |"


def _data(config: DataConfig) -> str:
    if config.train_tsv is not None:
        return "the recordings of " + " and ".join(f"`{path}`" for path in config.train_tsv)
    grammar = "the French-English demo grammar" if config.grammar is None else config.grammar
    return f"synthetic speech: sentences of {grammar}, spoken by espeak-ng"


def _text(text: TextNormalization | None) -> str:
    if text is None:
        return ""
    how = ", ".join(f"{name}: {value}" for name, value in to_dict(text).items())
    return f"\n- Texts, in training and for scoring: {how} (`text.yaml`)."


def _origin(config: TrainConfig, averaged: Sequence[int]) -> str:
    count, metric = len(averaged), config.select.metric
    if metric != "last":
        steps = " and ".join((", ".join(map(str, averaged[:-1])), str(averaged[-1])))
        return (
            f"as they were after step {averaged[0]}, the best on the dev set by {metric}"
            if count == 1
            else f"each the mean of its values after the steps {steps}, the best {count} "
            f"checkpoints on the dev set by {metric}"
        )
    if count == 1:
        return "as they were after the last step"
    return (
        f"each the mean of its values at the last {count} checkpoints, which are "
        f"{config.checkpoint_steps} steps apart"
    )
