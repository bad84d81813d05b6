"""`python -m echostream.scoring.judge FOLDER REFERENCES`: the errors of a judge on recordings."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from echostream.scoring.judge.error_rate import compare, read_recordings
from echostream.scoring.judge.make import FORMS, make_judge
from echostream.scoring.judge.normalizer import NORMALIZERS, default_normalizer


def main() -> int:
    """Prints the scores, and each transcript that is not its reference."""
    parser = argparse.ArgumentParser(prog="python -m echostream.scoring.judge", description=__doc__)
    parser.add_argument("folder", type=Path, help="recordings 0.wav, 1.wav ..., or a list")
    parser.add_argument("references", type=Path, help="a line for each recording, from 0")
    parser.add_argument("--asr-judge", required=True, metavar="JUDGE", help=FORMS)
    parser.add_argument("--asr-judge-language", default="en")
    parser.add_argument("--limit", type=int, help="only so many recordings")
    args = parser.parse_args()
    lines = args.references.read_text(encoding="utf-8").splitlines()
    recordings = read_recordings(args.folder, dict(enumerate(lines)))[: args.limit]
    judge = make_judge(args.asr_judge, args.asr_judge_language)
    normalizer = default_normalizer(args.asr_judge_language)
    normalize = NORMALIZERS[normalizer]
    begin = time.process_time()
    transcripts = []
    for transcript, (path, text) in zip(
        judge.transcribe([one.path for one in recordings]), recordings, strict=True
    ):
        transcripts.append(transcript)
        if normalize(transcript.text) != normalize(text):
            loop = " (loop)" if transcript.looped else ""
            print(f"{path.name}: {normalize(text)} -> {normalize(transcript.text)}{loop}")
    seconds = time.process_time() - begin
    found = compare(transcripts, [one.text for one in recordings], normalizer)
    print(
        f"{found.num} recordings, WER {found.word_error_rate:.2f} %, "
        f"BLEU {found.quality.BLEU:.2f}, chrF {found.quality.chrF:.2f}, "
        f"loops {found.num_looped}, normaliser {normalizer}, "
        f"{seconds:.1f} CPU s, judge {judge.name}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
