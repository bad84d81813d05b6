"""A corpus on disk: complete, resumable, readable; its report has the right counts."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from espeak_needed import needs_espeak

from echostream.data.synthetic.corpus import CorpusError, write_corpus
from echostream.data.synthetic.corpus_report import ngrams, report_corpus
from echostream.data.synthetic.grammar import Grammar, Pair
from echostream.data.synthetic.grammar_rules import GrammarError
from echostream.data.synthetic.speech import UNSEEN_VOICES, SyntheticSpeech
from echostream.data.table import COLUMNS, TableError, read_tsv
from echostream.files import locked
from echostream.frontend.audio import AudioError

COUNTS = {"train": 6, "dev": 3, "test-seen": 3, "test-unseen": 4}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, COUNTS, train_texts=200)
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@needs_espeak
def test_every_split_has_its_table_lists_and_audio(corpus: Path) -> None:
    for split, count in COUNTS.items():
        header, *lines = (corpus / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        assert header.split("\t") == list(COLUMNS)
        assert len(rows) == count
        folder = corpus / "simuleval" / split
        lists = [
            (folder / name).read_text(encoding="utf-8").splitlines()
            for name in ("wav_list.txt", "src.txt", "target.txt")
        ]
        for row, wav, source, target in zip(rows, *lists, strict=True):
            assert [source, target] == row[3:5]
            assert Path(wav) == (corpus / row[1]).resolve()
            info = sf.info(wav)
            assert (info.samplerate, info.channels, info.format) == (16_000, 1, "FLAC")
            assert int(row[2]) == info.frames // 160


@needs_espeak
def test_the_table_gives_back_the_utterances(corpus: Path) -> None:
    table = read_tsv(corpus / "test-unseen.tsv")
    speech = SyntheticSpeech(Grammar.load(), UNSEEN_VOICES, 0, "test-unseen")
    assert len(table) == COUNTS["test-unseen"]
    for number, item in enumerate(table):
        made = speech.utterance(number)
        assert (item.id, item.source, item.target) == (made.id, made.source, made.target)
        np.testing.assert_allclose(item.samples, made.samples, atol=1 / 32_000)
    assert [item.id for item in table[1:3]] == [table[1].id, table[2].id]


@needs_espeak
def test_a_killed_run_is_continued_and_ends_in_the_same_files(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    utterance_of = SyntheticSpeech.utterance

    def speak_until_killed(self: SyntheticSpeech, index: int) -> object:
        if len(made) == 7:
            raise KeyboardInterrupt
        made.append(index)
        return utterance_of(self, index)

    monkeypatch.setattr(SyntheticSpeech, "utterance", speak_until_killed)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(tmp_path, COUNTS, train_texts=200)
    assert (tmp_path / "train.tsv").exists() and not (tmp_path / "dev.tsv").exists()
    made.clear()
    monkeypatch.setattr(
        SyntheticSpeech, "utterance", lambda self, i: (made.append(i), utterance_of(self, i))[1]
    )
    write_corpus(tmp_path, COUNTS, train_texts=200)
    assert len(made) == sum(COUNTS.values()) - 7
    ours, theirs = snapshot(tmp_path), snapshot(corpus)
    assert ours.keys() == theirs.keys()
    for name, data in ours.items():
        if not name.endswith("wav_list.txt"):  # absolute paths
            assert data == theirs[name], name


@needs_espeak
def test_a_corpus_can_grow(tmp_path: Path) -> None:
    write_corpus(tmp_path, {"dev": 2}, train_texts=50)
    before = snapshot(tmp_path / "audio")
    write_corpus(tmp_path, {"dev": 4}, train_texts=50)
    after = snapshot(tmp_path / "audio")
    assert len(after) == 4
    assert before.items() <= after.items()
    assert len(read_tsv(tmp_path / "dev.tsv")) == 4


@needs_espeak
def test_another_seed_is_refused_in_the_same_folder(corpus: Path) -> None:
    with pytest.raises(CorpusError, match="another `seed`"):
        write_corpus(corpus, {"dev": 1}, seed=1)


@pytest.mark.parametrize(
    ("counts", "message"),
    [({}, "at least one"), ({"dev": 0}, "positive number"), ({"test": 3}, "'test'.*splits are")],
)
def test_wrong_counts_are_named(counts: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=message):
        write_corpus(tmp_path, counts)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


SMALL = Grammar.parse("rules:\n  sentence: |\n" + "".join(f"    m{n} => w{n}\n" for n in range(60)))


def test_a_split_that_the_grammar_has_no_sentence_for_is_an_error_and_not_a_hang(
    tmp_path: Path,
) -> None:
    one = Grammar.parse("rules: {sentence: 'oui => yes'}")
    with pytest.raises(GrammarError, match=r"none of 3000 sentences .* split dev"):
        write_corpus(tmp_path / "corpus", {"train": 1, "dev": 1}, grammar=one, train_texts=1)


@needs_espeak
def test_more_different_sentences_than_there_are_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    wanted = "1000 different sentences are wanted for dev, but after .* gave no new one"
    with pytest.raises(CorpusError, match=wanted):
        write_corpus(tmp_path, {"dev": 1000}, grammar=SMALL, train_texts=1)


def test_more_utterances_than_the_disk_holds_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"10{12} utterances need about [\d.]+ GB, but [\d.]+ [kMG]B are free"
    ):
        write_corpus(tmp_path / "corpus", {"train": 10**12}, grammar=SMALL)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a place without a free byte")
def test_a_small_disk_and_a_small_corpus_are_reported_in_small_units() -> None:
    """They were "about 0 GB, but 0 GB are free"."""
    with pytest.raises(CorpusError, match=r"about 20\.0 kB, but 0\.0 kB are free"):
        write_corpus(Path("/proc/corpus"), {"train": 1}, grammar=SMALL)


def test_two_processes_do_not_write_one_corpus(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(BlockingIOError, match=f"still at work in {tmp_path}"),
    ):
        write_corpus(tmp_path, {"train": 1}, grammar=SMALL)


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff", b"[" * 100_000])
def test_damaged_settings_of_a_corpus_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_bytes(content)
    with pytest.raises(CorpusError, match=f"{tmp_path}/corpus.json is damaged"):
        write_corpus(tmp_path, {"train": 1}, grammar=SMALL)


def test_settings_that_are_no_settings_are_those_of_another_corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text("[1]")
    with pytest.raises(CorpusError, match="another `seed`"):
        write_corpus(tmp_path, {"train": 1}, grammar=SMALL)


@needs_espeak
def test_a_damaged_recording_of_a_corpus_is_named_and_made_anew_once_it_is_removed(
    tmp_path: Path,
) -> None:
    write_corpus(tmp_path, {"train": 2}, grammar=SMALL, train_texts=1)
    path = sorted((tmp_path / "audio" / "train").iterdir())[0]
    whole = path.read_bytes()
    path.write_bytes(b"not audio")
    (path.parent / ".tmp-1-half.flac").write_bytes(b"half")
    with pytest.raises(CorpusError, match=f"{path} cannot be read .* remove it"):
        write_corpus(tmp_path, {"train": 2}, grammar=SMALL, train_texts=1)
    path.unlink()
    write_corpus(tmp_path, {"train": 2}, grammar=SMALL, train_texts=1)
    assert path.read_bytes() == whole
    assert not list(path.parent.glob(".tmp-*"))


@needs_espeak
def test_a_full_disk_names_the_recording_and_leaves_no_half_of_it(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    write_corpus(tmp_path, {"train": 1}, grammar=SMALL, train_texts=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"\.flac cannot be written .* MB are free"):
            write_corpus(tmp_path, {"train": 2}, grammar=SMALL, train_texts=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(list((tmp_path / "audio" / "train").iterdir())) == 1


def test_the_report_counts_words_and_unseen_ngrams() -> None:
    test = [Pair("a b c", "x"), Pair("a b d", "y"), Pair("a b c", "x")]
    report = report_corpus({"dev": test}, {"dev": [1.0, 2.0, 3.0]}, [Pair("a b c", "x z")])
    split = report.splits[0]
    assert (split.sentences, split.distinct, split.seconds) == (3, 2, 6.0)
    assert (split.source.types, split.source.tokens) == (4, 9)
    # Unseen: d of 9 words, "b d" of 6 pairs, "a b d" of 3 triples; there is no longer n-gram.
    assert split.source.unseen == pytest.approx((1 / 9, 1 / 6, 1 / 3, 0.0, 0.0))
    assert split.target.unseen[0] == pytest.approx(1 / 3)
    assert "| dev | fr | 11.1 % | 16.7 % | 33.3 % |" in report.to_markdown()


def test_ngrams_are_runs_of_words() -> None:
    assert list(ngrams("a b c", 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams("a b", 3)) == []


HEADER = "\t".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        (HEADER, "no lines"),
        ("id\tsrc_text\n", "`src_audio` is missing"),
        (HEADER + "a\tb.flac\t1\n", "line 2: 7 fields"),
        (HEADER + "a\tb.flac\t1\t\t \t\t0\n", "line 2: `src_text` and `tgt_text` are both"),
        (HEADER + "a\tb.flac\t1\tun\tone\t\t0\n" * 2, "line 3: the id `a` comes twice"),
    ],
)
def test_the_error_of_a_table_names_the_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=rf"x\.tsv.*{message}"):
        read_tsv(path)


def test_a_missing_recording_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(HEADER + "a\tb.flac\t1\tun\tone\t\t0\n", encoding="utf-8")
    table = read_tsv(path)
    with pytest.raises(AudioError, match=r"b\.flac"):
        table[0]


def test_recordings_are_brought_to_16_khz_mono_and_columns_may_be_in_any_order(
    tmp_path: Path,
) -> None:
    time = np.arange(48_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    sf.write(tmp_path / "b.wav", np.stack([tone, tone], axis=1), 48_000, subtype="FLOAT")
    text = 'src_text\tid\ttgt_text\tsrc_audio\n"un\ta\tone\tb.wav\n'
    (tmp_path / "x.tsv").write_text(text, encoding="utf-8")
    item = read_tsv(tmp_path / "x.tsv")[0]
    assert (item.source, item.target) == ('"un', "one")
    assert item.samples.shape == (16_000,)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(item.samples[500:-500], expected[500:-500], atol=1e-3)


def test_recordings_with_the_same_fault_are_logged_once_in_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """78 files of a public corpus have a wrong header: each pass warned of each of them."""
    lines = [f"{n}\t{n}.wav\t1\tun\tone\t\t0\n" for n in range(3)]
    for number in range(3):
        path = tmp_path / f"{number}.wav"
        sf.write(path, np.zeros(8000), 16_000)
        path.write_bytes(path.read_bytes()[:8000])
    (tmp_path / "x.tsv").write_text(HEADER + "".join(lines), encoding="utf-8")
    table = read_tsv(tmp_path / "x.tsv")
    for _ in range(2):
        assert [len(utterance.samples) for utterance in table] == 3 * [3978]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path / '0.wav'}: only the first 0.249 s")
