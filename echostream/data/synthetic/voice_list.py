"""Which voices speak a corpus, and how often: a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from echostream.config import ConfigError
from echostream.data.synthetic.speech import TRAIN_VOICES, UNSEEN_VOICES

Shares = tuple[tuple[str, float], ...]  # of voices by name


@dataclass(frozen=True)
class VoiceList:
    """Voices of the splits train, dev and test-seen, and those of test-unseen.

    Each is a name as of `echostream.voices.make`, such as `kokoro:jm_kumo` or `espeak:fr+f2`, and
    perhaps, after a space, a weight: a voice of weight 2 speaks twice as often as one without.
    """

    train: tuple[str, ...] = tuple(f"espeak:{name}" for name in TRAIN_VOICES)
    unseen: tuple[str, ...] = tuple(f"espeak:{name}" for name in UNSEEN_VOICES)

    def __post_init__(self) -> None:
        seen = {name for name, _ in shares_of(self.train)}
        if both := seen & {name for name, _ in shares_of(self.unseen)}:
            raise ConfigError(f"`unseen` must hold other voices than `train`, but has {both}.")


def shares_of(voices: Sequence[str]) -> Shares:
    """The voices of a list with their shares up to each, the last of which is 1.

    Raises ConfigError for a weight that is not a positive number, and for no voice.
    """
    names, weights = [], []
    for item in voices:
        name, _, weight = item.strip().partition(" ")
        try:
            number = float(weight or 1)
        except ValueError:
            number = 0.0
        if not 0 < number < 1e6:
            raise ConfigError(
                f"the weight of a voice must be a positive number, but is in {item!r}."
            )
        names.append(name)
        weights.append(number)
    if not names:
        raise ConfigError("a list of voices must name at least one.")
    total = sum(weights)
    return tuple(zip(names, (up_to / total for up_to in accumulate(weights)), strict=True))
