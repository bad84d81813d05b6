"""The folder of a run while it is trained in: it may be removed under its hands."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from echostream.files import holds_lock, locked, write_whole
from echostream.model_folder import CMVN, SOURCE_SPM, TARGET_SPM
from echostream.training.config import TrainConfig
from echostream.training.prepare import Prepared
from echostream.training.run_config import CONFIG, claim

CHECKPOINTS = "checkpoints"

logger = logging.getLogger(__name__)


@dataclass
class RunFolder:
    """A folder that is locked for this run; `stack` holds the lock until the run ends."""

    path: Path
    config: TrainConfig
    prepared: Prepared
    stack: ExitStack
    lock: int

    def restore(self) -> None:
        """Makes anew what was removed of the folder, so that the training so far is not lost.

        Raises:
            BlockingIOError: if another run has begun in the folder that was removed.
            OSError: if the folder cannot be made.
        """
        if not holds_lock(self.path, self.lock):
            self.lock = self.stack.enter_context(locked(self.path, keep_in_forks=False))
        removed = [
            name
            for name in (CONFIG, SOURCE_SPM, TARGET_SPM, CMVN, CHECKPOINTS)
            if not (self.path / name).exists()
        ]
        if not removed:
            return
        logger.warning(
            "%s was removed while the training ran; it is made anew, without the checkpoints "
            "before this step.",
            self.path if len(removed) > 1 else self.path / removed[0],
        )
        claim(self.path, self.config)
        (self.path / CHECKPOINTS).mkdir(exist_ok=True)
        for name, tokenizer in (
            (SOURCE_SPM, self.prepared.source_tokenizer),
            (TARGET_SPM, self.prepared.target_tokenizer),
        ):
            if name in removed:
                write_whole(self.path / name, tokenizer.to_bytes())
        if CMVN in removed:
            self.prepared.cmvn.save(self.path / CMVN)
