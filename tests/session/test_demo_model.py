"""The shipped model gives the output of its README, on the recordings that come with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sacrebleu

from echostream import Model, StreamingTranslator, load_model
from echostream.frontend.audio import read_audio

pytestmark = pytest.mark.slow  # the file as a whole

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "fr-en"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(ROOT / "models" / "fr-en-demo")


def recordings() -> list[tuple[Path, str]]:
    paths = (EXAMPLES / "wav_list.txt").read_text(encoding="utf-8").splitlines()
    targets = (EXAMPLES / "target.txt").read_text(encoding="utf-8").splitlines()
    sources = (EXAMPLES / "src.txt").read_text(encoding="utf-8").splitlines()
    assert len(paths) == len(targets) == len(sources) == 64
    return [(ROOT / path, target) for path, target in zip(paths, targets, strict=True)]


def translate(session: StreamingTranslator, path: Path, segment_ms: int | None) -> str:
    samples, sample_rate = read_audio(path)
    size = len(samples) if segment_ms is None else sample_rate * segment_ms // 1000
    session.reset()
    outputs = []
    for start in range(0, len(samples), size):
        outputs += session.push(samples[start : start + size], sample_rate)
    return " ".join(output.text for output in [*outputs, *session.finish()])


@pytest.mark.parametrize("look_ahead", [0, 1])
@pytest.mark.parametrize(("voices", "floor"), [("test-seen", 70), ("test-unseen", 50)])
def test_unseen_sentences_are_translated(
    model: Model, voices: str, floor: float, look_ahead: int
) -> None:
    session = StreamingTranslator(model, max_future_frames=look_ahead)
    split = [(path, target) for path, target in recordings() if path.name.startswith(f"{voices}-")]
    assert len(split) == 32
    found = [translate(session, path, None) for path, _ in split]
    assert sacrebleu.corpus_bleu(found, [[target for _, target in split]]).score >= floor


@pytest.mark.parametrize("look_ahead", [0, 1, 2])
def test_the_text_does_not_depend_on_the_segment_size(model: Model, look_ahead: int) -> None:
    session = StreamingTranslator(model, max_future_frames=look_ahead)
    for path, _ in recordings()[::8]:
        whole = translate(session, path, None)
        assert [translate(session, path, ms) for ms in (10, 320, 960)] == [whole] * 3


def test_it_is_small_enough_for_the_repository() -> None:
    files = (ROOT / "models" / "fr-en-demo").iterdir()
    assert sum(file.stat().st_size for file in files) <= 40 * 2**20


def test_speech_begins_and_ends_in_silence_where_its_player_runs_dry(model: Model) -> None:
    """A player that gets each group at once, and does not fade."""
    session, gaps = StreamingTranslator(model, speech=True), 0
    for path, _ in recordings()[::8]:
        samples, rate = read_audio(path)
        session.reset()
        outputs = []
        for start in range(0, len(samples), rate * 160 // 1000):
            outputs += session.push(samples[start : start + rate * 160 // 1000], rate)
        end, last = 0, 0.0
        for output in [*outputs, *session.finish()]:
            if len(output.samples):
                start = round(output.delay_ms * 16)
                if start > end:  # it is dry
                    assert max(abs(output.samples[0]), abs(last)) < 0.02
                    gaps += end > 0
                end, last = max(start, end) + len(output.samples), output.samples[-1]
    assert gaps
