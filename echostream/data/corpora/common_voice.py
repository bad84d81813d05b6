"""CoVoST 2 and CVSS-C, two sets of translations of Common Voice.

CoVoST 2: Wang et al. 2020, arXiv:2007.10310. CVSS-C: Jia et al. 2022, arXiv:2201.03713.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from echostream.data.corpora.entry import SPLITS, CorpusError, Entry, LeftOut, Options
from echostream.data.corpora.layout_files import check_columns, languages_of, splits_in, tsv_rows


class _Clip(NamedTuple):
    """A clip that is both in Common Voice and in CoVoST 2."""

    split: str
    path: Path
    source: str
    translation: str
    speaker: str


def read_covost2(options: Options) -> Iterator[Entry | LeftOut]:
    """The inner join of Common Voice's `validated.tsv` and CoVoST's table, by the clip.

    The training split is `train` and `train_covost` together, as in fairseq.
    """
    folder, languages = options.common_voice or options.source, languages_of(options)
    for item in _clips(folder, languages, options):
        if isinstance(item, LeftOut):
            yield item
        else:
            yield _entry(item, languages[0], item.translation)


def read_cvss(options: Options) -> Iterator[Entry | LeftOut]:
    """CoVoST's clips that are in CVSS-C too, with CVSS-C's text, as StreamSpeech prepares them.

    Its target speech, `<split>/<clip>.wav`, becomes `tgt_audio` where it is there.
    """
    languages = languages_of(options)
    tables = splits_in(options.source, {split: f"{split}.tsv" for split in SPLITS})
    targets: dict[str, dict[str, str]] = {}
    for split, path in tables.items():
        targets[split] = {}
        for row in tsv_rows(path, ("clip", "text")):
            if row is None:
                yield LeftOut(split, f"a line of {path.name} without two fields", path.name)
            else:
                targets[split][row["clip"]] = row["text"]
    if options.common_voice is None:
        raise CorpusError(
            "CVSS-C has no source speech: give the folder of Common Voice that CoVoST 2 was made "
            f"for, with `clips` and `validated.tsv`, as `--common-voice covost2/{languages[0]}`."
        )
    for item in _clips(options.common_voice, languages, options):
        if isinstance(item, LeftOut):
            yield item
            continue
        target = targets.get(item.split, {}).pop(item.path.name, None)
        if target is None:
            yield LeftOut(item.split, "in CoVoST 2 but not in CVSS-C", item.path.name)
            continue
        speech = options.source / item.split / f"{item.path.name}.wav"
        entry = _entry(item, languages[0], target)
        yield entry._replace(target_audio=speech if speech.is_file() else None)
    for split, left in targets.items():
        for name in left:
            yield LeftOut(split, "in CVSS-C but not in CoVoST 2 and validated.tsv", name)


def _entry(clip: _Clip, language: str, target: str) -> Entry:
    return Entry(
        clip.split, clip.path.stem, clip.path, clip.source, target, None, clip.speaker, language
    )


def _clips(folder: Path, languages: tuple[str, str], options: Options) -> Iterator[_Clip | LeftOut]:
    validated = folder / "validated.tsv"
    spoken: dict[str, tuple[str, str]] = {}
    for row in tsv_rows(validated):
        if row is None:
            yield LeftOut("", "a line of validated.tsv with another number of fields", "")
            continue
        check_columns(validated, row, ("path", "sentence", "client_id"))
        spoken[row["path"]] = row["sentence"], row["client_id"]
    with tempfile.TemporaryDirectory(prefix="echostream-") as temporary:
        table = _covost_table(folder, languages, options, Path(temporary))
        for row in tsv_rows(table):
            if row is None:
                yield LeftOut("", "a line of CoVoST's table with another number of fields", "")
                continue
            check_columns(table, row, ("path", "translation", "split"))
            name = row["path"]
            split = "train" if row["split"] == "train_covost" else row["split"]
            if split not in SPLITS:
                yield LeftOut(split, "in a split of CoVoST that no one uses", name)
            elif name not in spoken:
                yield LeftOut(split, "not in validated.tsv (of another Common Voice?)", name)
            else:
                path = folder / "clips" / name
                yield _Clip(split, path, spoken[name][0], row["translation"], spoken[name][1])


def _covost_table(
    folder: Path, languages: tuple[str, str], options: Options, temporary: Path
) -> Path:
    """CoVoST's table, out of its archive if it is still in one."""
    name = f"covost_v2.{languages[0]}_{languages[1]}.tsv"
    wanted = options.covost or folder / name
    for path in (wanted, wanted.with_name(f"{wanted.name}.tar.gz"), folder / f"{name}.tar.gz"):
        if not path.is_file():
            continue
        if not path.name.endswith(".tar.gz"):
            return path
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None and Path(member.name).name == name:
                    with (temporary / name).open("wb") as file:
                        shutil.copyfileobj(content, file)
                    return temporary / name
        raise CorpusError(f"{path} must hold {name}, but does not.")
    raise CorpusError(f"{wanted}: there is no such file; give CoVoST's table with `--covost`.")
