"""What was heard and written in each utterance, for the eyes of the user."""

from __future__ import annotations

from pathlib import Path

ASR_FILE, ST_FILE = "asr.txt", "st.txt"


class Transcripts:
    """Lines in files, one for each utterance, and lines on standard output, as words come.

    Args:
        folder: where the files are (`--extra-output-dir`), created if need be; None for no files.
        show: whether to print (`--output-asr-translation`).
        task: "st" also has a file and lines for the translation.
    """

    def __init__(self, folder: str | Path | None, show: bool, task: str) -> None:
        # Absolute, because SimulEval may change the working directory after construction.
        self.folder = None if folder is None else Path(folder).resolve()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.shows = show
        self._translates = task == "st"

    @property
    def needed(self) -> bool:
        """Whether source words are wanted at all."""
        return self.shows or self.folder is not None

    def show(self, source: str | None, target: str | None) -> None:
        """Prints an utterance so far; None for what has nothing new."""
        if self.shows and source is not None:
            print("Streaming ASR:", source, flush=True)
        if self.shows and self._translates and target is not None:
            print("Simultaneous translation:", target, flush=True)

    def append(self, source: str, target: str) -> None:
        """Adds the line of a finished utterance to each file; a blank one if nothing was said."""
        if self.folder is None:
            return
        lines = {ASR_FILE: source}
        if self._translates:
            lines[ST_FILE] = target
        for name, text in lines.items():
            with open(self.folder / name, "a", encoding="utf-8") as file:
                file.write(text + "\n")
