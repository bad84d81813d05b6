"""What a training run is made of; read from `configs/train/*.yaml`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from echostream.config import ConfigError, EncoderConfig, check_network
from echostream.text.tokenizer import MODEL_TYPES, NORMALIZATIONS


@dataclass(frozen=True)
class DataConfig:
    """Where the utterances come from: a grammar that is spoken, or tables on disk."""

    grammar: str | None = None  # grammar file; None is the French-English demo grammar
    train_tsv: str | None = None  # a table of utterances instead of the grammar
    dev_tsv: str | None = None
    block_size: int = 1024  # fresh utterances in a round
    reuse: int = 4  # rounds in which an utterance takes part
    num_workers: int = 1  # processes that make utterances and batches; 0: the training itself
    batch_seconds: float = 72.0  # audio in a batch, padding included
    join_probability: float = 0.0  # of an example being several utterances, one after the other
    join_utterances: int = 4  # how many at most
    nonspeech_probability: float = 0.0  # of a sound without words after an utterance
    dev_utterances: int = 120
    seed: int = 1

    def __post_init__(self) -> None:
        _check(self, "data.", 1, "block_size", "reuse", "dev_utterances", most=_MANY)
        _check(self, "data.", 0, "num_workers", most=256)
        _check(self, "data.", 0, "seed", most=10**12)
        _check(self, "data.", 2, "join_utterances", most=1000)
        _check(self, "data.", 0, "join_probability", "nonspeech_probability", most=1)
        _check_positive(self, "data.", "batch_seconds", most=86_400)


@dataclass(frozen=True)
class NetworkConfig:
    """The network and its tokenizers."""

    source_vocab_size: int = 640  # with `word`, an upper limit
    target_vocab_size: int = 400
    tokenizer_type: str = "unigram"  # or bpe, or word for a closed vocabulary
    tokenizer_normalization: str = "nmt_nfkc"  # of tokenizer.NORMALIZATIONS; identity: as written
    tokenizer_sentences: int = 20_000
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    st_layers: int = 2
    st_ffn_dim: int = 1024
    st_left_context: int = 128
    decoder_layers: int = 0  # 0: no text decoder
    decoder_ffn_dim: int = 1024
    decoder_left_tokens: int = 64
    decoder_window: int = 128
    max_future_frames: tuple[int, ...] = (0, 1, 2)  # L is drawn from these for each batch
    tail_ms: int = 640
    source_emission_unit: str = "word"  # char for a language without spaces between words
    target_emission_unit: str = "word"

    def __post_init__(self) -> None:
        check_network(self)  # as the model that comes of it


@dataclass(frozen=True)
class LossConfig:
    """Weights of the parts of the loss."""

    asr: float = 0.3
    st: float = 1.0
    align_steps: int = 600  # cross-entropy on known word times fades out over these steps
    align_blank_weight: float = 0.1
    decoder: float = 1.0
    decoder_max_lag: int = 3  # lagging_k1 is drawn from 0 to this for each batch
    decoder_label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        _check(self, "loss.", 0, "asr", "st", "decoder", "align_blank_weight", most=_MANY)
        _check(self, "loss.", 0, "align_steps")
        _check(self, "loss.", 0, "decoder_max_lag", most=1000)
        _check(self, "loss.", 0, "decoder_label_smoothing", most=1)


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with a linear warm-up and a linear way down to `final_lr`."""

    lr: float = 2e-3
    final_lr: float = 2e-5
    warmup_steps: int = 100
    weight_decay: float = 0.01
    clip_norm: float = 2.0

    def __post_init__(self) -> None:
        _check(self, "optim.", 0, "warmup_steps")
        _check(self, "optim.", 0, "lr", "final_lr", "weight_decay", most=math.inf)
        _check_positive(self, "optim.", "clip_norm", most=math.inf)


@dataclass(frozen=True)
class WarmStartConfig:
    """Training of the ST layers on text alone, before the speech."""

    steps: int = 0
    batch_sentences: int = 96
    lr: float = 2e-3

    def __post_init__(self) -> None:
        _check(self, "warm_start.", 0, "steps")
        _check(self, "warm_start.", 1, "batch_sentences", most=_MANY)
        _check(self, "warm_start.", 0, "lr", most=math.inf)


@dataclass(frozen=True)
class AugmentConfig:
    """Volume perturbation of the samples; SpecAugment (Park et al. 2019, arXiv:1904.08779)."""

    gain_db: tuple[float, float] = (0.0, 0.0)  # drawn for each utterance; what is too loud is cut
    frequency_masks: int = 2
    frequency_bins: int = 12  # width of a mask at most
    time_masks: int = 0
    time_frames: int = 10

    def __post_init__(self) -> None:
        _check(self, "augment.", 0, "frequency_masks", "time_masks", most=1000)
        _check(self, "augment.", 0, "frequency_bins", "time_frames")
        if len(self.gain_db) != 2 or not -96 <= self.gain_db[0] <= self.gain_db[1] <= 48:
            raise ConfigError(
                "`augment.gain_db` must be two numbers of decibels from -96 to 48, the smaller one "
                f"first, but is {self.gain_db} instead."
            )


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    output: str
    steps: int
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    checkpoint_steps: int = 200
    keep_checkpoints: int = 5  # the shipped weights are the mean of these
    validate_steps: int = 400
    threads: int = 0  # of torch; 0 leaves them as they are
    device: str = "auto"

    def __post_init__(self) -> None:
        _check(self, "", 1, "steps", "checkpoint_steps", "keep_checkpoints", "validate_steps")
        _check(self, "", 0, "threads", most=1024)
        network = self.network
        _check(network, "network.", 1, "tokenizer_sentences")
        # blank, unknown, and at least one piece
        _check(network, "network.", 3, "source_vocab_size", "target_vocab_size", most=_MANY)
        for name, allowed in (
            ("tokenizer_type", MODEL_TYPES),
            ("tokenizer_normalization", NORMALIZATIONS),
        ):
            if getattr(network, name) not in allowed:
                raise ConfigError(
                    f"`network.{name}` must be one of {', '.join(allowed)}, "
                    f"but is {str(getattr(network, name))[:80]!r} instead."
                )


_MANY = 1_000_000  # far beyond any use: a slip of the keyboard must not ask for all memory


def _check(config: object, section: str, least: int, *names: str, most: float = math.inf) -> None:
    for name in names:
        value = getattr(config, name)
        if not least <= value <= most:  # NaN, too
            limit = f"at most {most}" if value > most else f"at least {least}"
            raise ConfigError(f"`{section}{name}` must be {limit}, but is {value} instead.")


def _check_positive(config: object, section: str, *names: str, most: float) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 < value <= most:
            limit = f"at most {most}" if value > most else "positive"
            raise ConfigError(f"`{section}{name}` must be {limit}, but is {value} instead.")
