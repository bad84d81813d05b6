"""Tiny made-up corpora in exactly the layouts in which public ones are downloaded, traps included.

Each function writes one of a few utterances and returns the words of `echostream data prepare`.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

Writer = Callable[[Path], list[str]]


def write_tone(path: Path, seconds: float = 0.4, rate: int = 16_000, hertz: float = 440.0) -> Path:
    """A recording of a tone in the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    sf.write(path, 0.3 * np.sin(2 * np.pi * hertz * time), rate)
    return path


def write_text(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return path


def write_mboshi(root: Path) -> list[str]:
    """Five utterances of train and two of dev; one has no French, one header declares too much."""
    texts = [("wa áyεi", "l&apos; eau , est-elle bonne ?"), ("ngá", "j&apos; ai mangé .")]
    for split, count in (("train", 5), ("dev", 2)):
        for number in range(count):
            stem = root / split / f"abiayi_2015_Part{number}_{split}"
            audio = write_tone(stem.with_suffix(".wav"), 0.5 + number / 10)
            source, target = texts[number % 2]
            for suffix, text in (
                (".mb", source.upper()), (".mb.cleaned", source), (".mb.cleaned.split", source),
                (".fr", "L'eau"), (".fr.cleaned", target), (".fr.cleaned.noPunct", target),
            ):  # fmt: skip
                write_text(stem.with_suffix(suffix), text)
        audio.write_bytes(audio.read_bytes()[:-1000])
    (root / "train" / "abiayi_2015_Part0_train.fr.cleaned").unlink()
    return ["mboshi", str(root), "--held-out", "1"]


def _write_common_voice(folder: Path) -> None:
    """Clips of 48 kHz; sentences with quotation marks, U+2028 and the word NA."""
    sentences = ['Il dit \\"oui\\"', "L\u2019eau\u2028froide", "NA", "Quatre", "Cinq", "Six"]
    validated = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"]
    covost = ["path\ttranslation\tsplit"]
    splits = ["train", "train_covost", "dev", "test", "train", "dev_covost"]
    for number, (sentence, split) in enumerate(zip(sentences, splits, strict=True), start=1):
        name = f"common_voice_fr_{number}.mp3"
        validated.append(f"speaker{number % 2}\t{name}\t{sentence}\t2\t0\t\t\t")
        covost.append(f"{name}\tTranslation {number}.\t{split}")
        write_tone(folder / "clips" / name, 0.6, 48_000)
    covost.append("common_voice_fr_99.mp3\tOf a later release\ttest")
    (folder / "clips" / "common_voice_fr_5.mp3").write_bytes(b"not audio at all" * 20)
    write_text(folder / "validated.tsv", *validated)
    content = "".join(f"{line}\n" for line in covost).encode()
    with tarfile.open(folder / "covost_v2.fr_en.tsv.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("covost_v2.fr_en.tsv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def write_covost2(root: Path) -> list[str]:
    """Common Voice with CoVoST's table in its archive; one clip of it was in a later release."""
    _write_common_voice(root / "fr")
    return ["covost2", str(root / "fr"), "--languages", "fr", "en"]


def write_cvss(root: Path) -> list[str]:
    """CVSS-C beside CoVoST 2: tables without a header; a clip is missing, another is unknown."""
    _write_common_voice(root / "covost2" / "fr")
    folder = root / "cvss" / "cvss-c" / "fr-en"
    members = {"train": (1, 2, 5), "dev": (3,), "test": (77,)}
    for split, numbers in members.items():
        lines = [f"common_voice_fr_{n}.mp3\ttranslation number {n}" for n in numbers]
        write_text(folder / f"{split}.tsv", *lines)
        for number in numbers:
            write_tone(folder / split / f"common_voice_fr_{number}.mp3.wav", 0.5, 24_000)
    common_voice = str(root / "covost2" / "fr")
    return ["cvss", str(folder), "--common-voice", common_voice]


def _write_talks(
    root: Path, splits: tuple[str, ...], languages: tuple[str, str], listed: str, kind: str
) -> None:
    """Talks of 2 s with segments that are out of order, of no length, and beyond the end."""
    places = [("100.2e-2", 0.4), ("0.1608", 0.5), ("1.5", 0.0), ("1.9", 5.0), ("0.7", 0.3)]
    texts = ["Two.\u2028Two.", "One. (Applause)", "Nothing.", "Too far.", '-- "3"']
    for split in splits:
        folder = root / "data" / split
        segments = []
        for offset, duration in places:
            segments.append(
                f"- {{duration: {duration}, offset: {offset}, rW: 5, uW: 0, "
                f"speaker_id: spk.1, wav: ted_{split}.{listed}}}"
            )
        write_text(folder / "txt" / f"{split}.yaml", *segments)
        for language in languages:
            write_text(folder / "txt" / f"{split}.{language}", *(f"{language} {t}" for t in texts))
        write_tone(folder / "wav" / f"ted_{split}.{kind}", 2.0)


def write_must_c(root: Path) -> list[str]:
    """Three splits of MuST-C, of one talk each."""
    _write_talks(root / "en-de", ("train", "dev", "tst-COMMON"), ("en", "de"), "wav", "wav")
    return ["mustc", str(root / "en-de")]


def write_mtedx(root: Path) -> list[str]:
    """Three splits of mTEDx, whose list names .wav files that are .flac files."""
    _write_talks(root / "fr-en", ("train", "valid", "test"), ("fr", "en"), "wav", "flac")
    return ["mtedx", str(root / "fr-en")]


def write_europarl_st(root: Path) -> list[str]:
    """Speeches, one converted to FLAC and one still in AAC; the third number is the end."""
    write_tone(root / "fr" / "audios" / "speech.1.flac", 2.0)
    (root / "fr" / "audios" / "speech.2.m4a").write_bytes(b"\0\0\0\x18ftypM4A ")
    for split in ("train", "dev", "test"):
        folder = root / "fr" / "en" / split
        lines = ["speech.1 0.25 0.75", "speech.2 0.0 1.0", "speech.1 1.0 1.5", "speech.1 1.5"]
        write_text(folder / "segments.lst", *lines)
        write_text(folder / "segments.fr", "Un.", "Deux.", "Trois.", "Quatre.")
        write_text(folder / "segments.en", "One.", "Two.", "Three.", "Four.")
    return ["europarl-st", str(root), "--languages", "fr", "en"]


def write_fleurs(root: Path) -> list[str]:
    """Sentence 7 is read by two people; sentence 9 is in French only."""
    for language, sentence in (("fr_fr", "L'eau, c'est la vie."), ("en_us", '"Water" is life.')):
        for split, ids in (("train", (7, 7, 9)), ("dev", (8,)), ("test", (10,))):
            lines = []
            for number, name in enumerate(ids):
                if language == "en_us" and name == 9:
                    continue
                file = f"{name}{number}.wav"
                letters = " ".join(sentence.lower()) + " |"
                lines.append(
                    f"{name}\t{file}\t{sentence}\t{sentence.lower()}\t{letters}\t8000\tFEMALE"
                )
                write_tone(root / language / split / file, 1.0)
            write_text(root / "metadata" / language / f"{split}.tsv", *lines)
    return ["fleurs", str(root), "--languages", "fr_fr", "en_us"]


def write_librispeech(root: Path) -> list[str]:
    """Parts of LibriSpeech; a recording has no transcript and a transcript no recording."""
    for part in ("train-clean-100", "dev-clean", "test-other"):
        folder = root / part / "84" / "121550"
        for number in range(2):
            write_tone(folder / f"84-121550-000{number}.flac", 0.8)
        write_text(folder / "84-121550.trans.txt", "84-121550-0000 BUT DON'T", "84-121550-0007 NO")
    return ["librispeech", str(root)]


def write_tables(root: Path) -> list[str]:
    """Tables as fairseq writes them, with parts of talks, and a row that is cut off."""
    for split in ("train", "dev", "test"):
        write_tone(root / "talks" / f"{split}.wav", 2.0)
        write_text(
            root / f"{split}.tsv",
            "id\taudio\tn_frames\ttgt_text\tspeaker\tsrc_text",
            f'{split}_0\ttalks/{split}.wav:8000:8000\t50\tshe said \\"yes\\"\tanna\telle dit oui',
            f"{split}_1\ttalks/{split}.wav:0:8000\t50\tno\tanna\t",
            "cut off",
        )
    return ["tsv", str(root)]


def write_asterisk(root: Path) -> list[str]:
    """Seven prompts: a digit, dots before a text, a remark, a sign, a word, and none in English."""
    french = ["; Core Sounds", "", "vm-press: appuyez sur 1", "dir/who: ... qui appelle\u202f?"]
    french += ["tones: [des tons montants]", "star: appuyez sur *", "yes: oui", "only: en français"]
    english = ["vm-press: press 1.", "dir/who: who calls?", "tones: [tones]", "star: press *"]
    english += ["yes: yes", "lost: there is no recording"]
    for language, lines in (("fr", french), ("en", english)):
        path = root / f"usr/share/doc/core-{language}/core-sounds-{language}.txt.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    sounds = root / "usr/share/asterisk/sounds"
    for name in ("vm-press", "dir/who", "tones", "star", "yes", "only", "beep"):
        write_tone(sounds / "fr_CA_f_June" / f"{name}.wav", rate=8000)
    write_tone(sounds / "en_US_f_Allison" / "yes.wav", rate=8000)
    return ["asterisk", str(root)]


WRITERS: dict[str, Writer] = {
    "asterisk": write_asterisk,
    "mboshi": write_mboshi,
    "cvss": write_cvss,
    "covost2": write_covost2,
    "mustc": write_must_c,
    "mtedx": write_mtedx,
    "europarl-st": write_europarl_st,
    "fleurs": write_fleurs,
    "librispeech": write_librispeech,
    "tsv": write_tables,
}
