"""Selection of checkpoints by their scores on the dev set."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from echostream.files import write_whole
from echostream.training.checkpoint_file import CheckpointError
from echostream.training.config import LOWER_IS_BETTER, SelectConfig
from echostream.training.validate import Scores

FILE = "dev.json"


class Selection:
    """Ranks the checkpoints in a folder by the metric of a configuration.

    The scores are in `dev.json` beside the checkpoints, all of them, by step and look-ahead.
    """

    def __init__(self, config: SelectConfig, folder: Path) -> None:
        self.config = config
        self.path = folder / FILE

    def record(self, step: int, scores: Mapping[int, Scores]) -> None:
        """Adds the scores of a checkpoint at each look-ahead."""
        known = {str(look_ahead): score.known() for look_ahead, score in scores.items()}
        write_whole(self.path, json.dumps({**self._read(), str(step): known}, indent=1))

    def has(self, step: int) -> bool:
        """Whether the checkpoint of a step has been scored."""
        return str(step) in self._read()

    def best(self, steps: Iterable[int], count: int) -> list[int]:
        """The best `count` of those that have been scored, in order; of equals, the newest."""
        scores = self._read()
        known = [step for step in steps if str(step) in scores]
        ranked = sorted(known, key=lambda step: (self._value(scores[str(step)]), step))
        return sorted(ranked[-count:])

    def value(self, scores: Mapping[int, Scores]) -> float:
        """The metric of scores at each look-ahead, the larger the better."""
        return self._value({str(look_ahead): s.known() for look_ahead, s in scores.items()})

    def _value(self, scores: Mapping[str, Mapping[str, float]]) -> float:
        """The metric, the larger the better: at one look-ahead, or the mean over all."""
        metric, look_ahead = self.config.metric, self.config.look_ahead
        chosen = scores.values() if look_ahead is None else [scores[str(look_ahead)]]
        values = [score.get(metric, math.nan) for score in chosen]
        mean = sum(values) / len(values)
        if math.isnan(mean):
            return -math.inf
        return -mean if metric in LOWER_IS_BETTER else mean

    def _read(self) -> dict[str, dict[str, dict[str, float]]]:
        if not self.path.exists():
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if not all(isinstance(s, dict) for v in found.values() for s in v.values()):
                raise ValueError("it must hold scores by step and look-ahead")
        except (ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{self.path} is damaged ({error}): remove it, and only the checkpoints from now "
                "on are compared."
            ) from error
        return dict(found)
