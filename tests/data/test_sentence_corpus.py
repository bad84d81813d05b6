"""Speech of sentence pairs on disk: complete, resumable, the same in any number of processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import soundfile as sf
from espeak_needed import needs_espeak
from tiny_kokoro import make_kokoro_packages

from echostream.cli import main
from echostream.config import ConfigError, load_config
from echostream.data.sentences.split import SentencePair
from echostream.data.synthetic.corpus import CorpusError
from echostream.data.synthetic.sentence_corpus import (
    SentenceCorpus,
    SentenceSpeech,
    write_sentence_corpus,
)
from echostream.data.synthetic.speech import Split
from echostream.data.synthetic.voice_list import VoiceList, shares_of
from echostream.data.table import read_tsv
from echostream.text.normalization import TextNormalization, load_normalization
from echostream.voices import kokoro

TEXT = TextNormalization("lower", "drop", "straight")
COUNTS: dict[Split, int] = {"train": 7, "dev": 2, "test-seen": 3, "test-unseen": 3}
VOICES = VoiceList(("espeak:fr+f2", "espeak:fr+m1 3"), ("espeak:fr+m4",))
PAIRS = {
    "train": [("Va!", "Go!"), ("Où es-tu?", "Where are you?"), ("L'eau, parce que...", "Water.")],
    "dev": [("Oui.", "Yes."), ("Non.", "No.")],
    "test": [("Un chat.", "A cat."), ("Deux chats.", "Two cats."), ("Il dort.", "He sleeps.")],
}


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    folder = tmp_path / "sentences"
    folder.mkdir()
    for name, pairs in PAIRS.items():
        lines = [f"{name}{number}\t{a}\t{b}\n" for number, (a, b) in enumerate(pairs)]
        (folder / f"{name}.tsv").write_text(
            "id\tsrc_text\ttgt_text\n" + "".join(lines), encoding="utf-8"
        )
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("lock", "wav_list.txt")
    }


@needs_espeak
def test_tables_have_normalised_texts_the_voice_and_the_end_of_each_word(
    sentences: Path, tmp_path: Path
) -> None:
    corpus = SentenceCorpus(sentences, VOICES, TEXT)
    report = write_sentence_corpus(tmp_path / "corpus", COUNTS, corpus)
    assert [split.sentences for split in report.splits] == list(COUNTS.values())
    assert load_normalization(tmp_path / "corpus") == TEXT
    tables = {split: read_tsv(tmp_path / "corpus" / f"{split}.tsv") for split in COUNTS}
    for split, table in tables.items():
        names = [name for name, _ in shares_of(VOICES.unseen if "un" in split else VOICES.train)]
        for row in table.rows:
            assert row.source == TEXT(row.source or "") and row.speaker in names
            seconds = sf.info(tmp_path / "corpus" / row.audio).duration
            assert len(row.word_ends) == len((row.source or "").split())
            assert row.word_ends[0] > 0.05 and row.word_ends[-1] < seconds
    wanted = {TEXT(source): TEXT(target) for source, target in PAIRS["train"]}
    passes = [(row.source, row.target) for row in tables["train"].rows]
    assert dict(passes) == wanted and sorted(passes[:3]) == sorted(passes[3:6])
    seen, unseen = ([row.source for row in tables[f"test-{s}"].rows] for s in ("seen", "unseen"))
    assert seen == unseen and len({*seen}) == 3


@needs_espeak
def test_a_killed_run_is_continued_and_several_processes_write_the_same(
    sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = SentenceCorpus(sentences, VOICES, TEXT)
    counts: dict[Split, int] = {"train": 7}
    write_sentence_corpus(tmp_path / "two", counts, corpus, jobs=2)
    made: list[int] = []
    speak = SentenceSpeech.utterance

    def until_killed(self: SentenceSpeech, index: int) -> object:
        made.append(index)
        if len(made) == 5:
            raise KeyboardInterrupt
        return speak(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(SentenceSpeech, "utterance", until_killed)
        with pytest.raises(KeyboardInterrupt):
            write_sentence_corpus(tmp_path / "one", counts, corpus)
    kept = files_of(tmp_path / "one" / "audio")
    assert len(kept) == 4
    write_sentence_corpus(tmp_path / "one", counts, corpus)
    ours, theirs = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert ours == theirs
    assert kept.items() <= files_of(tmp_path / "one" / "audio").items()


@needs_espeak
def test_other_sentences_voices_or_texts_are_refused_in_the_same_folder(
    sentences: Path, tmp_path: Path
) -> None:
    write_sentence_corpus(tmp_path / "corpus", {"dev": 1}, SentenceCorpus(sentences, VOICES, TEXT))
    for corpus, key in (
        (SentenceCorpus(sentences, VOICES, TEXT, seed=2), "seed"),
        (SentenceCorpus(sentences, VoiceList(), TEXT), "voices"),
        (SentenceCorpus(sentences, VOICES), "text"),
    ):
        with pytest.raises(CorpusError, match=f"another `{key}`"):
            write_sentence_corpus(tmp_path / "corpus", {"dev": 1}, corpus)
    with (sentences / "dev.tsv").open("a", encoding="utf-8") as file:
        file.write("more\tPlus.\tMore.\n")
    with pytest.raises(CorpusError, match="another `sentences of dev`"):
        write_sentence_corpus(
            tmp_path / "corpus", {"dev": 1}, SentenceCorpus(sentences, VOICES, TEXT)
        )


@needs_espeak
def test_a_split_with_too_few_sentences_is_an_error(sentences: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="3 different sentences are wanted for dev"):
        write_sentence_corpus(tmp_path / "corpus", {"dev": 3}, SentenceCorpus(sentences, VOICES))


@needs_espeak
def test_the_command_speaks_with_the_voices_of_a_file(
    sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(make_kokoro_packages(tmp_path / "packages"))
    kokoro._load.cache_clear()
    voices = tmp_path / "voices.yaml"
    voices.write_text("train: [kokoro:jf_one+jm_two]\nunseen: [kokoro:jf_one/jm_two]\n")
    words = ["corpus", str(tmp_path / "corpus"), "--sentences", str(sentences)]
    words += ["--voices", str(voices), "--case", "lower", "--counts", "train=2", "test-unseen=1"]
    assert main(words) == 0
    (row,) = read_tsv(tmp_path / "corpus" / "test-unseen.tsv").rows
    assert row.speaker == "kokoro:jf_one/jm_two" and row.word_ends
    kokoro._load.cache_clear()


def test_voices_speak_in_the_ratio_of_their_weights() -> None:
    pairs = [SentencePair("1", "un", "one")]
    speech = SentenceSpeech(pairs, ("a", "b 3", "c 0.5"), 1, "train", TEXT)
    counts = Counter(speech.voice(index) for index in range(4500))
    for name, weight in (("a", 1), ("b", 3), ("c", 0.5)):
        assert counts[name] == pytest.approx(1000 * weight, abs=110)  # over three deviations


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: []", "at least one"),
        ("train: [espeak:fr 0]", "weight of a voice must be a positive number"),
        ("train: [espeak:fr much]", "weight of a voice must be a positive number"),
        ("train: [espeak:fr]\nunseen: [espeak:fr 2]", "other voices than `train`"),
        ("voices: [espeak:fr]", "voices"),
    ],
)
def test_a_list_of_voices_that_cannot_be_used_is_named(
    content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "voices.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_config(VoiceList, tmp_path / "voices.yaml")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--voices", "v.yaml"], "`--voices` needs `--sentences`"),
        (["--sentences", "s", "--target-voice", "piper"], "`--target-voice` cannot be given"),
        (["--sentences", "none"], "none"),
        (["--case", "lower"], "`--case` needs `--sentences`"),
        (["--jobs", "0"], "`--jobs` must be at least 1"),
    ],
)
def test_flags_that_do_not_fit_are_named(
    more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", str(tmp_path / "corpus"), *more]) == 2
    assert message in capsys.readouterr().err
