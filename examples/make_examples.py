"""Makes `examples/fr-en/`: 64 test utterances with the lists that SimulEval reads.

    python examples/make_examples.py

Half are in voices of the demo model's training data and half in other voices; none of the sentences
is in the training data (`echostream.data.synthetic.speech.sentence_split`). Paths in the lists are
relative to the root of the repository, where `simuleval` is run. Needs espeak-ng.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from echostream.data.synthetic.corpus import write_corpus
from echostream.data.table import read_tsv

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("examples/fr-en")
COUNTS = {"test-seen": 32, "test-unseen": 32}
SEED = 2026


def main() -> int:
    """Writes the folder anew and returns the exit status."""
    lists: dict[str, list[str]] = {"wav_list.txt": [], "src.txt": [], "target.txt": []}
    with tempfile.TemporaryDirectory() as scratch:
        corpus, folder = Path(scratch, "corpus"), Path(scratch, "examples")
        folder.mkdir()
        write_corpus(corpus, COUNTS, seed=SEED, train_texts=1)
        for split in COUNTS:
            sources = sorted((corpus / "audio" / split).glob("*.flac"))
            for utterance, source in zip(read_tsv(corpus / f"{split}.tsv"), sources, strict=True):
                if source.stem != utterance.id:
                    raise ValueError(f"{corpus / split}.tsv is not in the order of its files.")
                name = f"{utterance.id}.flac"
                shutil.copy(source, folder / name)
                lists["wav_list.txt"].append(str(FOLDER / name))
                lists["src.txt"].append(utterance.source)
                lists["target.txt"].append(utterance.target)
        for name, lines in lists.items():
            (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        shutil.rmtree(ROOT / FOLDER, ignore_errors=True)
        shutil.copytree(folder, ROOT / FOLDER)
    print(f"{len(lists['wav_list.txt'])} utterances in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
