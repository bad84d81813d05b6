"""SentencePiece tokenizer of one language, with the CTC blank as id 0."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece as spm

from echostream.config import BLANK_ID
from echostream.files import write_whole

UNK_ID = 1
NUM_SPECIAL_IDS = 2  # blank, unknown
BLANK_PIECE = "<blank>"
UNK_SURFACE = "⁇"
MODEL_TYPES = ("unigram", "bpe", "word")
# SentencePiece's names. NFKC maps `…` to `...` and decomposes fractions; `nmt` maps more characters
# to spaces; `cf` folds case; identity only merges spaces, and expects composed text (NFC).
NORMALIZATIONS = ("nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity")
WORD_START = "▁"

# Bounds that SentencePiece sets on the two lengths below; 16 is its default for a piece.
_PIECE_LENGTHS = (16, 512)
_MIN_SENTENCE_BYTES = 10


class Tokenizer:
    """Text to ids of a SentencePiece model, and back.

    Id 0 is the CTC blank (`<blank>`), which `encode` never returns and which decodes to ""; id 1 is
    the unknown piece. There are no sentence boundary ids.
    """

    def __init__(self, processor: spm.SentencePieceProcessor) -> None:
        self._processor = processor
        self._pieces: list[str] = [
            processor.id_to_piece(index) for index in range(processor.get_piece_size())
        ]
        self._surfaces = [
            "" if processor.is_control(index) else piece.replace(WORD_START, " ")
            for index, piece in enumerate(self._pieces)
        ]
        # A foreign model may have another surface for the unknown piece.
        self._surfaces[UNK_ID] = processor.decode([UNK_ID])
        # Computed once, because the detokenizer needs it at every push.
        self._has_only_words = all(map(self.starts_word, range(BLANK_ID + 1, self.vocab_size)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Reads a SentencePiece model file.

        Raises OSError if it cannot be read, and ValueError naming the path if it is not a
        SentencePiece model or its special ids are not those of a CTC vocabulary.
        """
        data = Path(path).read_bytes()
        if not data:
            raise ValueError(f"{path} is not a SentencePiece model: the file is empty.")
        try:
            processor = spm.SentencePieceProcessor(model_proto=data)
        except RuntimeError as error:
            raise ValueError(f"{path} is not a SentencePiece model: {error}") from error
        _check_special_ids(processor, path)
        return cls(processor)

    @classmethod
    def train(
        cls,
        sentences: Iterable[str],
        vocab_size: int,
        path: str | os.PathLike[str],
        *,
        model_type: str = "unigram",
        character_coverage: float = 1.0,
        normalization: str = "nmt_nfkc",
    ) -> Tokenizer:
        """Trains a model of `model_type` (unigram, bpe or word), writes it to `path`, returns it.

        The same sentences give the same file. `vocab_size` counts the blank, the unknown piece and
        every character of the corpus. For a closed vocabulary whose words all occur tens of times,
        the number of words plus the number of distinct characters plus 2 makes nearly every word
        one piece. A word model has whole words only, and no characters. `normalization` (one of
        `NORMALIZATIONS`) is stored in the model and also applied by `encode`.

        Raises ValueError for another `model_type` or `normalization`, if there is no text, or if
        `vocab_size` is too small or too large for it (the message names the limit). Nothing is
        written then.
        """
        for name, value, allowed in (
            ("model_type", model_type, MODEL_TYPES),
            ("normalization", normalization, NORMALIZATIONS),
        ):
            if value not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(allowed)}, but is {value!r} instead."
                )
        corpus = [sentence for sentence in sentences if sentence.strip()]
        if not corpus:
            raise ValueError("`sentences` must hold at least one sentence that is not blank.")
        longest_word = max(len(word) for sentence in corpus for word in sentence.split())
        longest_sentence = max(len(sentence.encode()) for sentence in corpus)
        model = io.BytesIO()
        try:
            spm.SentencePieceTrainer.train(
                sentence_iterator=iter(corpus),
                model_writer=model,
                model_type=model_type,
                vocab_size=vocab_size,
                character_coverage=character_coverage,
                normalization_rule_name=normalization,
                # + 1 for the word mark: a piece may be as long as the longest word.
                max_sentencepiece_length=min(
                    max(longest_word + 1, _PIECE_LENGTHS[0]), _PIECE_LENGTHS[1]
                ),
                # Longer sentences would be skipped without a warning.
                max_sentence_length=max(longest_sentence, _MIN_SENTENCE_BYTES),
                pad_id=BLANK_ID,
                pad_piece=BLANK_PIECE,
                unk_id=UNK_ID,
                # An unknown piece is a whole word in a word model, else part of a word.
                unk_surface=f" {UNK_SURFACE} " if model_type == "word" else UNK_SURFACE,
                bos_id=-1,
                eos_id=-1,
                num_threads=1,
                minloglevel=3,
            )
        except RuntimeError as error:
            raise ValueError(_explain(error, vocab_size)) from error
        write_whole(path, model.getvalue())
        return cls.load(path)

    def to_bytes(self) -> bytes:
        """The SentencePiece model file."""
        data: bytes = self._processor.serialized_model_proto()
        return data

    @property
    def vocab_size(self) -> int:
        """Number of ids, the blank and the unknown piece included (V)."""
        return len(self._pieces)

    @property
    def has_only_words(self) -> bool:
        """Whether every piece is a whole word, so that none can grow by the next piece."""
        return self._has_only_words

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ids: list[int] = self._processor.encode(text, out_type=int)
        return ids

    def normalize(self, text: str) -> str:
        """The text as normalised by `encode`, with unknown pieces kept."""
        pieces: list[str] = self._processor.encode(text, out_type=str)
        return "".join(pieces).replace(WORD_START, " ").strip()

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; blanks are dropped, unknown pieces become U+2047.

        Raises IndexError for an id outside the vocabulary.
        """
        text: str = self._processor.decode([self._checked(index) for index in ids])
        return text

    def piece(self, index: int) -> str:
        """The piece of an id, its word mark (U+2581) included."""
        return self._pieces[self._checked(index)]

    def surface(self, index: int) -> str:
        """The text that an id appends: the piece, with a space for its word mark.

        The concatenation over all ids equals `decode`, apart from spaces at the beginning.
        """
        return self._surfaces[self._checked(index)]

    def starts_word(self, index: int) -> bool:
        """Whether an id begins a word: its surface begins with a space."""
        return self.surface(index).startswith(" ")

    def _checked(self, index: int) -> int:
        # Negative ids are refused, too: a padding value of -100, say, or an off-by-one error.
        if not 0 <= index < self.vocab_size:
            raise IndexError(
                f"`ids` must be in [0, {self.vocab_size}), but one is {index} instead."
            )
        return int(index)


def _check_special_ids(processor: spm.SentencePieceProcessor, path: str | os.PathLike[str]) -> None:
    wanted = {"pad (blank)": BLANK_ID, "unk": UNK_ID, "bos": -1, "eos": -1}
    found = {
        "pad (blank)": processor.pad_id(),
        "unk": processor.unk_id(),
        "bos": processor.bos_id(),
        "eos": processor.eos_id(),
    }
    if found != wanted:
        raise ValueError(f"{path} must have the special ids {wanted}, but has {found} instead.")
    if any(processor.is_byte(index) for index in range(processor.get_piece_size())):
        raise ValueError(f"{path} must not use byte pieces (byte_fallback), but does.")


def _explain(error: RuntimeError, vocab_size: int) -> str:
    """The error message in terms of `vocab_size`, or SentencePiece's own for other errors."""
    if match := re.search(r"too high .*<= (\d+)", str(error)):
        return (
            f"`vocab_size` must be at most {match[1]} for these sentences, "
            f"but is {vocab_size} instead."
        )
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
        return (
            f"`vocab_size` must be at least {match[1]} (every character, the blank and the unknown "
            f"piece), but is {vocab_size} instead."
        )
    return f"SentencePiece cannot train on these sentences with `vocab_size` {vocab_size}: {error}"
