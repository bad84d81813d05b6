"""Recordings with the speech of their translation, written and drawn.

    echostream speak models/fr-en-demo examples/fr-en/*.flac --output out/demo-speech

For each recording: NAME.wav in stereo, with the recording on the left and its translation on the
right, as a player plays it. And one page, index.html, with both waveforms, the words and a
player for each; it needs no other file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from echostream.evaluation.arguments import print_error
from echostream.evaluation.speech_page import Example, page
from echostream.files import check_outputs, make_folder, remove_unfinished, write_whole
from echostream.frontend.audio import clean, read_audio, show_path
from echostream.frontend.resample import resample
from echostream.frontend.sample_check import prefix_log
from echostream.frontend.save_audio import save_audio
from echostream.model_folder import load_model
from echostream.session.playback import Playback
from echostream.session.translator import StreamingTranslator, joined_text
from echostream.session_config import add_session_flags, add_voice_flag, session_config
from echostream.streaming import SAMPLE_RATE
from echostream.voices.espeak import EspeakError

PAGE = "index.html"


def translate(session: StreamingTranslator, path: Path, segment_ms: int) -> tuple[Example, str]:
    """A recording and its translation as speech and as text, pushed in segments.

    Raises ValueError naming the file if it is no audio.
    """
    samples, sample_rate = read_audio(path)
    session.reset()
    playback, outputs = Playback(), []
    size = max(1, sample_rate * segment_ms // 1000)
    with prefix_log(show_path(str(path))):
        for start in range(0, len(samples), size):
            outputs += session.push(samples[start : start + size], sample_rate)
        outputs += session.finish()
    for output in outputs:
        playback.add(output)
    source, _ = clean(samples)  # the session has warned of what is not usable
    source = source if sample_rate == SAMPLE_RATE else resample(source, sample_rate)
    example = Example(show_path(path.stem), source, playback.samples, playback.words)
    return example, joined_text(outputs)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 1 if a recording could not be translated."""
    args = _parser().parse_args(argv)
    if args.segment_ms < 1:
        raise ValueError(f"`--segment-ms` must be at least 1, but is {args.segment_ms} instead.")
    model = load_model(args.model, voice=args.voice)
    session = StreamingTranslator(model, session_config(args, speech=True))
    folder = make_folder(args.output)
    files = {str(path): folder / f"{path.stem}.wav" for path in args.audio}
    check_outputs(files)
    remove_unfinished(folder)
    examples, failed = [], 0
    for path in args.audio:
        try:
            example, text = translate(session, path, args.segment_ms)
            save_audio(files[str(path)], example.stereo)
        except (ValueError, OSError) as error:
            print_error("speak", error)
            failed += 1
            continue
        except EspeakError as error:
            print_error("speak", f"{show_path(str(path))}: {error}")
            failed += 1
            continue
        except MemoryError:
            print_error("speak", f"{show_path(str(path))}: it needs more memory than there is.")
            failed += 1
            continue
        backlog = session.longest_backlog_ms / 1000
        print(f"{show_path(str(path))}: {text} (backlog at most {backlog:.2f} s)", flush=True)
        examples.append(example)
    if examples:
        title = f"{Path(args.model).resolve().name}, speech to speech"
        write_whole(folder / PAGE, page(examples, title))
        print(f"page: {folder / PAGE}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    description, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="echostream speak",
        description=description,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="folder of a model that has a vocoder, or with --voice")
    parser.add_argument("audio", nargs="+", type=Path, help="recordings")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    parser.add_argument(
        "--segment-ms", type=int, default=320, help="length of a segment (default: 320)"
    )
    add_voice_flag(parser)
    add_session_flags(parser, but=("speech", "task", "transcript"))
    return parser
