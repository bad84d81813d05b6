"""The configuration of a training run; read from `configs/train/*.yaml`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from echostream.config import ConfigError, ModelConfig
from echostream.ranges import make_plain
from echostream.text.tokenizer import MODEL_TYPES, NORMALIZATIONS, NUM_SPECIAL_IDS
from echostream.training.acoustics import Acoustics
from echostream.training.check_values import (
    MANY,
    check_choice,
    check_positive,
    check_range,
    check_values,
)


@dataclass(frozen=True)
class DataConfig:
    """The utterances: synthetic speech of a grammar, or the recordings of tables."""

    grammar: str | None = None  # grammar file; None is the French-English demo grammar
    # a table of utterances, or several that are shuffled together, instead of the grammar
    train_tsv: str | tuple[str, ...] | None = None
    train_weights: tuple[float, ...] = ()  # how many times an epoch uses each table; () is once
    dev_tsv: str | None = None
    block_size: int = 1024  # new utterances in a round
    reuse: int = 4  # rounds in which an utterance is used
    num_workers: int = 1  # processes that load utterances and make batches; 0: the training itself
    batch_seconds: float = 72.0  # audio in a batch, padding included
    concat_probability: float = 0.0  # that an example is several utterances, one after the other
    concat_utterances: int = 4  # at most
    nonspeech_probability: float = 0.0  # that a sound without words follows an utterance
    dev_utterances: int = 120
    max_lost: float = 0.2  # share of rows that cannot be used before a run is refused
    seed: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.train_tsv, str):
            object.__setattr__(self, "train_tsv", (self.train_tsv,))
        make_plain(self)
        if self.train_tsv == ():
            raise ConfigError("`data.train_tsv` must name at least one table, but is empty.")
        if self.train_weights and len(self.train_weights) != len(self.train_tsv or ()):
            raise ConfigError(
                f"`data.train_weights` must have one number for each table of `data.train_tsv`, "
                f"{len(self.train_tsv or ())}, but has {len(self.train_weights)}."
            )
        if not all(0 < weight <= 1000 for weight in self.train_weights):
            raise ConfigError(
                "`data.train_weights` must be numbers above 0 and at most 1000, but are "
                f"{list(self.train_weights)}."
            )
        check_values(self, "data.", 1, "block_size", "reuse", "dev_utterances", most=MANY)
        check_values(self, "data.", 0, "num_workers", most=256)
        check_values(self, "data.", 0, "seed", most=10**12)
        check_values(self, "data.", 2, "concat_utterances", most=1000)
        check_values(self, "data.", 0, "concat_probability", "nonspeech_probability", most=1)
        check_values(self, "data.", 0, "max_lost", most=1)
        check_positive(self, "data.", "batch_seconds", most=86_400)


@dataclass(frozen=True)
class TokenizerConfig:
    """How the two SentencePiece models are trained; `network` has their sizes at most."""

    type: str = "unigram"  # or bpe, or word for a closed vocabulary
    sentences: int = 20_000

    def __post_init__(self) -> None:
        make_plain(self)
        check_choice("tokenizer.type", self.type, MODEL_TYPES)
        check_values(self, "tokenizer.", 1, "sentences")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the parts of the loss."""

    asr: float = 0.3
    st: float = 1.0
    # The ASR head on the output of the second stack, too (intermediate CTC: Lee and Watanabe 2021,
    # arXiv:2102.03216).
    asr_intermediate: float = 0.0
    align_steps: int = 600  # steps over which the weight of the alignment loss falls from 1 to 0
    align_blank_weight: float = 0.1
    decoder: float = 1.0
    decoder_max_lag: int = 3  # lagging_k1 is drawn from 0 to this for each batch
    # Shares of the utterances in which the decoder attends to the frames along a diagonal, or to
    # all of the recording; in the others to those at which the ST head allows a token.
    decoder_diagonal: float = 0.0
    decoder_whole: float = 0.0
    decoder_label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        make_plain(self)
        weights = ("asr", "st", "asr_intermediate", "decoder", "align_blank_weight")
        check_values(self, "loss.", 0, *weights, most=MANY)
        check_values(self, "loss.", 0, "align_steps")
        check_values(self, "loss.", 0, "decoder_max_lag", most=1000)
        shares = ("decoder_diagonal", "decoder_whole")
        check_values(self, "loss.", 0, "decoder_label_smoothing", *shares, most=1)
        if self.decoder_diagonal + self.decoder_whole > 1:
            raise ConfigError(
                "`loss.decoder_diagonal` and `loss.decoder_whole` are shares of the utterances: "
                f"their sum must be at most 1, but is {self.decoder_diagonal + self.decoder_whole}."
            )


@dataclass(frozen=True)
class OptimConfig:
    """AdamW (Loshchilov and Hutter 2019) with a linear warm-up and a linear decay to `final_lr`; or
    ScaledAdam, whose learning rate is relative to the weights, about 0.03, and Eden, which falls by
    the inverse of the step and has no last one (both of Yao et al. 2024, arXiv:2310.11230)."""

    name: str = "adamw"  # or scaled_adam, which has no weight decay
    schedule: str = "linear"  # or eden
    lr: float = 2e-3
    final_lr: float = 2e-5  # of the linear schedule
    eden_steps: int = 5000  # after which the learning rate of Eden is 0.71 `lr`
    warmup_steps: int = 100
    weight_decay: float = 0.01
    clip_norm: float = 2.0

    def __post_init__(self) -> None:
        make_plain(self)
        check_choice("optim.name", self.name, ("adamw", "scaled_adam"))
        check_choice("optim.schedule", self.schedule, ("linear", "eden"))
        check_values(self, "optim.", 0, "warmup_steps")
        check_values(self, "optim.", 1, "eden_steps")
        check_values(self, "optim.", 0, "lr", "final_lr", "weight_decay", most=math.inf)
        check_positive(self, "optim.", "clip_norm", most=math.inf)


@dataclass(frozen=True)
class TextPretrainingConfig:
    """Training of the ST head on text alone, before the first step on speech."""

    steps: int = 0
    batch_sentences: int = 96
    lr: float = 2e-3

    def __post_init__(self) -> None:
        make_plain(self)
        check_values(self, "text_pretraining.", 0, "steps")
        check_values(self, "text_pretraining.", 1, "batch_sentences", most=MANY)
        check_values(self, "text_pretraining.", 0, "lr", most=math.inf)


@dataclass(frozen=True)
class AugmentConfig:
    """Rooms, noise, telephones, volume and speed of the samples (Ko et al. 2015, Interspeech; Ko et
    al. 2017, ICASSP); SpecAugment (Park et al. 2019, arXiv:1904.08779). Of the samples of a table
    and of a grammar alike."""

    gain_db: tuple[float, float] = (
        0.0,
        0.0,
    )  # for each utterance; clipped at 1
    frequency_masks: int = 2
    frequency_bins: int = 12  # width of a mask at most
    time_masks: int = 0
    time_frames: int = 10
    speeds: tuple[float, ...] = (1.0,)  # one is drawn for each use of an utterance in the data
    room_probability: float = 0.0  # that an utterance is spoken in a simulated room
    room_t60: tuple[float, float] = (0.1, 0.6)  # s in which its reflections fall by 60 dB
    noise_probability: float = 0.0  # of white or pink noise
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    telephone_probability: float = 0.0  # that only 300 to 3400 Hz are left

    @property
    def acoustics(self) -> Acoustics:
        """The part of it that is a way from speaker to microphone."""
        return Acoustics(
            self.room_probability,
            self.room_t60,
            self.noise_probability,
            self.noise_snr_db,
            self.telephone_probability,
        )

    def __post_init__(self) -> None:
        make_plain(self)
        check_values(self, "augment.", 0, "frequency_masks", "time_masks", most=1000)
        check_values(self, "augment.", 0, "frequency_bins", "time_frames")
        if not self.speeds or not all(0.5 <= speed <= 2 for speed in self.speeds):
            raise ConfigError(
                "`augment.speeds` must be one or more numbers from 0.5 to 2, but is "
                f"{list(self.speeds)} instead."
            )
        check_range(self, "augment.", "gain_db", -96, 48, "decibels")
        shares = ("room_probability", "noise_probability", "telephone_probability")
        check_values(self, "augment.", 0, *shares, most=1)
        check_range(self, "augment.", "room_t60", 0.02, 3.0, "seconds")
        check_range(self, "augment.", "noise_snr_db", -20.0, 100.0, "decibels")


PRECISIONS = ("float32", "bf16")
LOWER_IS_BETTER = ("wer", "cer")
OF_DECODER = ("decoder_bleu", "decoder_exact", "free_bleu")
METRICS = ("last", *LOWER_IS_BETTER, "bleu", "exact", *OF_DECODER)


@dataclass(frozen=True)
class SelectConfig:
    """Which checkpoints become the model: the newest, or those best on the dev set."""

    metric: str = "last"  # or a score of the dev set: wer, cer, bleu, exact, decoder_bleu, ...
    look_ahead: int | None = None  # at which it is taken; None: the mean over all that are trained

    def __post_init__(self) -> None:
        make_plain(self)
        check_choice("select.metric", self.metric, METRICS)


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    `network` is the network to train. Its vocabulary sizes are upper limits until the tokenizers
    are trained.
    """

    FORMER_KEYS: ClassVar[dict[str, str]] = {
        "data.join_probability": "data.concat_probability",
        "data.join_utterances": "data.concat_utterances",
        "network.tokenizer_type": "tokenizer.type",
        "network.tokenizer_sentences": "tokenizer.sentences",
        "warm_start": "text_pretraining",
    }

    output: str
    steps: int
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    network: ModelConfig = field(default_factory=lambda: ModelConfig(640, 400))
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    text_pretraining: TextPretrainingConfig = field(default_factory=TextPretrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    init_from: str | tuple[str, ...] = ()  # folders of models, or `FOLDER:part` of each part
    # Steps in which encoder and ASR head keep the weights of `init_from`, while the others begin.
    freeze_steps: int = 0
    checkpoint_steps: int = 200
    dropout: float = 0.0  # of the output of each sublayer
    keep_checkpoints: int = 5  # the weights of the model are the mean of these
    select: SelectConfig = field(default_factory=SelectConfig)  # which ones are kept
    validate_steps: int = 400
    max_skipped_batches: int = 20  # whose loss or gradient is not finite, before the run stops
    accumulate: int = 1  # batches in a step; several ranks share them equally
    precision: str = "float32"  # or bf16: the network computes in bfloat16 in training
    threads: int = 0  # of PyTorch; 0 leaves their number unchanged
    device: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.init_from, str):
            object.__setattr__(self, "init_from", (self.init_from,))
        make_plain(self)
        check_values(self, "", 1, "steps", "checkpoint_steps", "keep_checkpoints", "validate_steps")
        check_values(self, "", 0, "threads", most=1024)
        check_values(self, "", 1, "accumulate", most=4096)
        check_choice("precision", self.precision, PRECISIONS)
        check_values(self, "", 0, "max_skipped_batches", most=MANY)
        check_values(self, "", 0, "dropout", most=0.9)
        sizes = ("source_vocab_size", "target_vocab_size")
        check_values(self.network, "network.", NUM_SPECIAL_IDS + 1, *sizes)  # at least one piece
        normalization = self.network.tokenizer_normalization
        check_choice("network.tokenizer_normalization", normalization, NORMALIZATIONS)
        check_values(self, "", 0, "freeze_steps")
        if self.freeze_steps and not (self.loss.st or self.loss.decoder):
            raise ConfigError(
                "`freeze_steps` must be 0 without `loss.st` and `loss.decoder`: nothing would be "
                f"trained, but it is {self.freeze_steps}."
            )
        if self.freeze_steps and not self.init_from:
            raise ConfigError(
                "`freeze_steps` must be 0 without `init_from`: the encoder would be random, "
                f"but it is {self.freeze_steps}."
            )
        self._check_selection()

    def _check_selection(self) -> None:
        select, network = self.select, self.network
        if select.look_ahead is not None and select.look_ahead not in network.max_future_frames:
            raise ConfigError(
                "`select.look_ahead` must be one of `network.max_future_frames`, "
                f"{list(network.max_future_frames)}, but is {select.look_ahead} instead."
            )
        if select.metric in OF_DECODER and not network.decoder_layers:
            raise ConfigError(
                f"`select.metric` is {select.metric}, but `network.decoder_layers` is 0: there is "
                "no text decoder."
            )
