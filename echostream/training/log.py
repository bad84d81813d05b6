"""The log of a run: JSON lines, TensorBoard and a progress bar."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from echostream.extras import extra

with extra("train", "training"):
    from torch.utils.tensorboard import SummaryWriter
    from tqdm import tqdm


class RunLog:
    """`log.jsonl`, TensorBoard event files and the bar on standard error.

    The bar shows the seconds of audio per second of wall time, and the remaining time.
    """

    def __init__(self, folder: Path, steps: int, first_step: int) -> None:
        self._folder = folder
        self._path = folder / "log.jsonl"
        self._open(first_step)
        self._bar = tqdm(
            total=steps,
            initial=first_step,
            unit="step",
            file=sys.stderr,
            mininterval=2.0,
            smoothing=0.05,
        )

    def _open(self, step: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a", encoding="utf-8")
        # The steps after the last checkpoint of a killed run are repeated: their records go.
        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        self._board.close()
        self._file.close()

    def advance(self, loss: float, audio_rate: float) -> None:
        """Moves the bar by one step."""
        self._bar.set_postfix_str(f"loss {loss:.3f}, {audio_rate:.0f} audio-s/s", refresh=False)
        self._bar.update()

    def write(self, kind: str, step: int, **values: float) -> None:
        """Writes a record of a step to the file and to TensorBoard; both are reopened if removed.

        Raises:
            OSError: naming the file, if it cannot be written.
        """
        record = {"kind": kind, "step": step, "time": round(time.time(), 1)}
        record |= {name: round(value, 5) for name, value in values.items()}
        try:
            if not self._path.exists():
                self._board.close()
                self._file.close()
                self._open(step - 1)
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)
        except OSError as error:
            raise OSError(
                f"{self._path} or TensorBoard's files cannot be written: {error.strerror}."
            ) from error

    def print(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text, file=sys.stderr)


class Progress:
    """The steps between two checkpoints: means for the log, and the rate."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._started = time.perf_counter()
        self._audio = 0.0  # seconds
        self._sums: dict[str, float] = {}
        self._count = self._skipped = 0

    def add(self, report: Mapping[str, float], audio_seconds: float) -> None:
        """Adds the report of a step; an empty one is of a step that was skipped."""
        self._audio += audio_seconds
        self._count += bool(report)
        self._skipped += not report
        for name, value in report.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        loss = report.get("asr_loss", math.nan) + report.get("st_loss", math.nan)
        self._log.advance(loss, self._rate())

    def means(self) -> dict[str, float]:
        """The means of the steps that were not skipped; empty if all were."""
        return {name: value / self._count for name, value in self._sums.items()}

    def write(self, step: int, learning_rate: float) -> None:
        """Writes the record of these steps, the last of which is `step`."""
        skipped = {"skipped": self._skipped} if self._skipped else {}
        self._log.write(
            "train",
            step,
            **self.means(),
            **skipped,
            learning_rate=learning_rate,
            audio_seconds=self._audio,
            audio_rate=self._rate(),
        )

    def _rate(self) -> float:
        return self._audio / (time.perf_counter() - self._started)
