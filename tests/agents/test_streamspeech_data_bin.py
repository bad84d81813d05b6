"""A `--data-bin` of StreamSpeech is read as it is, and used only with `--cmvn data-bin`."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm
from tiny_model import SOURCE_TEXT, TARGET_TEXT, babble, make_model_folder

from echostream.agents.streamspeech_data import (
    ForeignFolderError,
    read_data_bin,
    streamspeech_data_bin,
)
from echostream.agents.streamspeech_vocabulary import VocabularyError, read_vocabulary
from echostream.frontend.cmvn import GlobalCmvn
from echostream.model_folder import Model, load_model
from echostream.session.translator import StreamingTranslator

YAML = "config_gcmvn.yaml"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(make_model_folder(tmp_path_factory.mktemp("model")))


@pytest.fixture
def own_statistics(model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Path:
    """A `--data-bin` with the statistics of the model, of which nothing is to be logged."""
    caplog.set_level(logging.INFO)
    folder = data_bin(tmp_path / "bin", "gcmvn.npz")
    model.cmvn.save(folder / "gcmvn.npz")
    return folder


def statistics(level: float) -> GlobalCmvn:
    return GlobalCmvn(np.full(80, level, np.float32), np.full(80, 8, np.float32))


def data_bin(folder: Path, stats_npz_path: object = None) -> Path:
    """A folder with statistics at level 1, and a YAML as StreamSpeech has it, unless None."""
    folder.mkdir(parents=True, exist_ok=True)
    statistics(1).save(folder / "gcmvn.npz")
    if stats_npz_path is not None:
        (folder / YAML).write_text(
            f"global_cmvn:\n  stats_npz_path: {stats_npz_path}\n"
            "input_channels: 1\ninput_feat_per_channel: '80'\nspecaugment:\n  time_wrap_W: 0\n"
            "transforms:\n  '*':\n  - global_cmvn\n"
        )
    return folder


def arguments(
    folder: Path | None, cmvn: str = "model", config_yaml: str | None = YAML
) -> Namespace:
    return Namespace(data_bin=folder and str(folder), cmvn=cmvn, config_yaml=config_yaml)


def level(folder: Path, config_yaml: str | None = YAML) -> float:
    found = read_data_bin(folder, config_yaml)
    assert found.cmvn is not None
    return float(found.cmvn.mean[0])


def test_the_yaml_is_found_under_data_bin_and_leads_to_the_statistics(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.npz"
    statistics(2).save(elsewhere)
    folder = data_bin(tmp_path / "bin", elsewhere)
    assert level(folder) == 2
    assert read_data_bin(folder, YAML).statistics == elsewhere
    assert level(folder, config_yaml=None) == 1  # none named: what is in the folder


def test_a_relative_path_counts_from_data_bin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """StreamSpeech would take it from wherever it is run."""
    folder = data_bin(tmp_path / "bin", "sub/own.npz")
    (folder / "sub").mkdir()
    statistics(3).save(folder / "sub" / "own.npz")
    (tmp_path / "cwd" / "sub").mkdir(parents=True)
    statistics(4).save(tmp_path / "cwd" / "sub" / "own.npz")
    monkeypatch.chdir(tmp_path / "cwd")
    assert level(folder) == 3


@pytest.mark.parametrize("path", ["/data/someone/StreamSpeech/configs/gcmvn.npz", "not/here.npz"])
def test_a_path_to_nothing_falls_back_to_the_statistics_in_data_bin(
    path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """StreamSpeech would stop; its own files name the machine of their author."""
    assert level(data_bin(tmp_path / "bin", path)) == 1
    assert not caplog.records


@pytest.mark.parametrize("cmvn", ["model", "data-bin"])
def test_a_data_bin_without_the_named_yaml_is_used_with_one_warning(
    cmvn: str, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    applied = streamspeech_data_bin(model, arguments(data_bin(tmp_path / "bin"), cmvn))
    assert [(r.levelname, r.getMessage()) for r in caplog.records if r.levelno > logging.INFO] == [
        ("WARNING", f"{tmp_path / 'bin' / YAML} does not exist; looking for gcmvn.npz beside it.")
    ]
    assert bool(applied.cmvn.mean[0] == 1) is (cmvn == "data-bin")


def test_statistics_replace_those_of_the_model_only_on_request(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = data_bin(tmp_path / "bin", "gcmvn.npz")
    assert streamspeech_data_bin(model, arguments(folder)) is model
    (record,) = caplog.records
    assert f"{folder / 'gcmvn.npz'} (`--cmvn data-bin` would use it)" in record.getMessage()

    before = model.cmvn
    applied = streamspeech_data_bin(model, arguments(folder, "data-bin"))
    assert np.array_equal(applied.cmvn.mean, statistics(1).mean)
    assert np.array_equal(applied.cmvn.std, statistics(1).std)
    assert model.cmvn is before and applied.network is model.network
    assert f"normalised with {folder / 'gcmvn.npz'}" in caplog.records[-1].getMessage()

    def frames(of: Model) -> list[str]:
        session = StreamingTranslator(of)
        return [o.text for o in [*session.push(babble(4, seed=70), 16_000), *session.finish()]]

    assert frames(applied) != frames(model)


def test_nothing_is_logged_where_nothing_differs(
    model: Model, own_statistics: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert streamspeech_data_bin(model, arguments(own_statistics)) is model
    assert streamspeech_data_bin(model, arguments(None)) is model
    assert not caplog.records


def test_configured_statistics_must_exist(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ForeignFolderError, match="`--cmvn data-bin` needs `--data-bin`, which"):
        streamspeech_data_bin(model, arguments(None, "data-bin"))
    with pytest.raises(ForeignFolderError, match=r"must be a folder, but .*none is not"):
        streamspeech_data_bin(model, arguments(tmp_path / "none", "data-bin"))
    folder = data_bin(tmp_path / "bin", "missing.npz")
    (folder / "gcmvn.npz").unlink()
    with pytest.raises(ForeignFolderError, match=rf"needs gcmvn.npz in {folder}.*is {YAML}"):
        streamspeech_data_bin(model, arguments(folder, "data-bin"))


BOMB = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n".encode() for n in range(1, 12)
)
DAMAGED = {
    YAML: (b"global_cmvn: [unclosed", "is not YAML"),
    "bomb/" + YAML: (BOMB, "must hold at most 50000 values"),
    "latin/" + YAML: ("# été\n".encode("latin-1"), "must be text in UTF-8"),
    "deep/" + YAML: (b"[" * 10_000, "must not be nested deeper than 32 levels"),
    "twice/" + YAML: (b"global_cmvn: a\nglobal_cmvn: b\n", "must not be given twice"),
    "empty/" + YAML: (b"", "`global_cmvn` must be a mapping"),
    "list/" + YAML: (b"global_cmvn:\n  - gcmvn.npz\n", "`global_cmvn` must be a mapping"),
    "gcmvn.npz": (b"PK\x03\x04 cut", "is not a file of CMVN statistics"),
    "spm_unigram_fr.txt": ("▁le 1\n▁la\n".encode(), "line 2: must be a piece and a count"),
    "tgt_unigram6000/spm_unigram_fr.model": (b"", "the file is empty"),
    "src_unigram6000/spm_unigram_fr.model": (b"text", "is not a SentencePiece model"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_and_is_an_error_only_with_the_flag(
    name: str, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, reason = DAMAGED[name]
    folder = data_bin(tmp_path / "bin", "gcmvn.npz")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    if path.name == YAML:
        folder = data_bin(path.parent)
    with pytest.raises(ValueError, match=reason) as error:
        streamspeech_data_bin(model, arguments(folder, "data-bin"))
    assert str(path) in str(error.value)
    assert streamspeech_data_bin(model, arguments(folder)) is model
    (record,) = caplog.records
    assert record.levelname == "WARNING" and reason in record.getMessage()


def test_a_data_bin_that_does_not_exist_is_warned_of(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert streamspeech_data_bin(model, arguments(tmp_path / "none")) is model
    (record,) = caplog.records
    assert "`--data-bin` is not used, only the model" in record.getMessage()


# Vocabularies


def fairseq_vocabulary(stem: Path, sentences: tuple[str, ...]) -> list[str]:
    """Both files as StreamSpeech's preparation makes them; the pieces after the special ones."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_prefix=str(stem),
        vocab_size=26,
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=3,
    )
    processor = spm.SentencePieceProcessor(model_file=f"{stem}.model")
    pieces = [processor.id_to_piece(index) for index in range(4, processor.get_piece_size())]
    Path(f"{stem}.txt").write_text("".join(f"{p} 1\n" for p in pieces), encoding="utf-8")
    return pieces


def test_the_lines_of_a_dictionary_are_the_ids_from_four_on(tmp_path: Path) -> None:
    stem = tmp_path / "src_unigram6000" / "spm_unigram_fr"
    pieces = fairseq_vocabulary(stem, SOURCE_TEXT)
    both = read_vocabulary(stem).pieces
    assert both[:4] == ("<s>", "<pad>", "</s>", "<unk>")
    assert list(both[4:]) == pieces
    processor = spm.SentencePieceProcessor(model_file=f"{stem}.model")
    ids = processor.encode(SOURCE_TEXT[0])
    assert [both[index] for index in ids] == processor.encode(SOURCE_TEXT[0], out_type=str)

    text, model = Path(f"{stem}.txt"), Path(f"{stem}.model")
    kept = text.read_bytes()
    text.write_bytes(kept.replace(b"\n", b"\r\n"))  # as an editor may leave it
    assert read_vocabulary(stem).pieces == both
    text.write_bytes(kept.replace(b" 1\n", b" 2\n", 1))
    assert read_vocabulary(stem).pieces == both
    text.write_bytes(kept.partition(b"\n")[2])
    with pytest.raises(VocabularyError, match="must hold the same pieces, but differ"):
        read_vocabulary(stem)
    text.unlink()
    assert read_vocabulary(stem).pieces == both
    model.unlink()
    with pytest.raises(VocabularyError, match=r"must have a file spm_unigram_fr\.txt or"):
        read_vocabulary(stem)


def test_a_model_with_other_special_pieces_is_not_streamspeechs(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "model")
    (folder / "spm_unigram_fr.model").write_bytes((folder / "spm_src.model").read_bytes())
    with pytest.raises(VocabularyError, match="must begin with the pieces <s> <pad> </s> <unk>"):
        read_vocabulary(folder / "spm_unigram_fr")


def test_a_vocabulary_is_reported_unless_it_is_the_models(
    model: Model, own_statistics: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = own_statistics
    fairseq_vocabulary(folder / "spm_unigram_en", TARGET_TEXT)  # what the model was trained on
    assert streamspeech_data_bin(model, arguments(folder)) is model
    assert not caplog.records

    other = tuple(text.upper() for text in TARGET_TEXT)
    fairseq_vocabulary(folder / "tgt_unigram6000" / "spm_unigram_fr", other)
    assert streamspeech_data_bin(model, arguments(folder)) is model
    (record,) = caplog.records
    assert str(folder / "tgt_unigram6000" / "spm_unigram_fr") in record.getMessage()
    assert "spm_unigram_en" not in record.getMessage()
