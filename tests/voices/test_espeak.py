"""espeak-ng: the same request gives the same samples, and the word times are right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from espeak_needed import needs_espeak

from echostream.data.synthetic.grammar import Grammar
from echostream.data.synthetic.speech import TRAIN_VOICES, UNSEEN_VOICES
from echostream.voices import espeak_server
from echostream.voices.espeak import Espeak, EspeakError, _match_words

TEXT = "je voudrais une chambre pour deux nuits"


@needs_espeak
def test_the_same_request_gives_the_same_samples_whatever_came_before() -> None:
    grammar, rng, engine = Grammar.load(), random.Random(2), Espeak()
    requests = [
        (grammar.sample(rng).source, voice, rng.randint(120, 220), rng.randint(20, 80))
        for voice in TRAIN_VOICES + UNSEEN_VOICES
        for _ in range(2)
    ]
    first = {request: engine.speak(*request) for request in requests}
    rng.shuffle(requests)
    for request in requests:
        again = engine.speak(*request)
        np.testing.assert_array_equal(again.samples, first[request].samples)
        assert again.word_ends == first[request].word_ends


@needs_espeak
def test_speech_is_float32_and_not_silent() -> None:
    speech = Espeak().speak(TEXT)
    assert speech.samples.dtype == np.float32
    assert speech.samples.ndim == 1
    assert 1.0 < speech.samples.size / speech.sample_rate < 5.0
    assert 0.1 < np.abs(speech.samples).max() <= 1.0


@needs_espeak
def test_a_slower_rate_takes_longer() -> None:
    slow, fast = (Espeak().speak(TEXT, rate_wpm=rate).samples.size for rate in (120, 220))
    assert slow > 1.4 * fast


@needs_espeak
@pytest.mark.parametrize("voice", TRAIN_VOICES + UNSEEN_VOICES)
def test_every_voice_is_voiced_and_unlike_the_others(voice: str) -> None:
    spectrum = mean_spectrum(voice)
    # A whisper has no periodicity; the autocorrelation of a voice has a peak at its pitch.
    assert periodicity(Espeak().speak(TEXT, voice).samples) > 0.4
    for other in TRAIN_VOICES + UNSEEN_VOICES:
        if other != voice:
            assert np.abs(spectrum - mean_spectrum(other)).mean() > 0.1, other


_spectra: dict[str, np.ndarray] = {}


def mean_spectrum(voice: str) -> np.ndarray:
    """Log energy in 16 bands, its mean taken off."""
    if voice not in _spectra:
        samples = Espeak().speak(TEXT, voice).samples
        blocks = samples[: samples.size // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
        power = np.abs(np.fft.rfft(blocks)).astype(np.float64)[:, 4:372] ** 2
        bands = np.log(power.mean(axis=0).reshape(16, 23).mean(axis=1) + 1e-12)
        _spectra[voice] = bands - bands.mean()
    return _spectra[voice]


def periodicity(samples: np.ndarray) -> float:
    """Median over the louder blocks of the largest autocorrelation at 60 to 400 Hz."""
    blocks = [samples[i : i + 1024] for i in range(0, samples.size - 1024, 512)]
    loud = [b for b in blocks if np.square(b).mean() > 0.25 * np.square(samples).mean()]
    peaks = []
    for block in loud:
        correlation = np.correlate(block, block, "full")[1023:]
        peaks.append(correlation[22050 // 400 : 22050 // 60].max() / correlation[0])
    return float(np.median(peaks))


@needs_espeak
def test_word_ends_go_up_to_the_end_of_the_audio_for_every_sentence() -> None:
    grammar, rng = Grammar.load(), random.Random(3)
    for _ in range(200):
        text = grammar.sample(rng).source
        speech = Espeak().speak(text)
        assert len(speech.word_ends) == len(text.split()), text
        assert np.all(np.diff((0.0, *speech.word_ends)) > 0), text
        assert speech.word_ends[-1] == pytest.approx(speech.samples.size / speech.sample_rate)


@needs_espeak
def test_word_ends_are_where_the_prefix_ends() -> None:
    # Synthesised alone, the first words take about as long as they do in the sentence.
    text = "je voudrais un billet pour paris demain matin"
    speech = Espeak().speak(text)
    for count in (2, 4, 6):
        prefix = Espeak().speak(" ".join(text.split()[:count]))
        seconds = prefix.samples.size / prefix.sample_rate
        assert speech.word_ends[count - 1] == pytest.approx(seconds, abs=0.25)


def test_words_are_matched_by_their_positions() -> None:
    text = "est-ce que l'hôtel"
    events = [(1, 0), (5, 100), (8, 400), (12, 1000), (18, 3000)]
    assert _match_words(text, events, 1000, 3.0) == (0.4, 1.0, 3.0)


def test_words_that_are_spoken_as_one_share_its_time_by_letters() -> None:
    assert _match_words("ab parce que cd", [(1, 0), (4, 1000), (14, 2000)], 1000, 3.0) == (
        pytest.approx((1.0, 1.6, 2.0, 3.0))
    )


@pytest.mark.parametrize("events", [[], [(5, 0)], [(1, 0), (4, 0)], [(1, 0), (4, 5000)]])
def test_words_without_usable_times_have_none(events: list[tuple[int, int]]) -> None:
    assert _match_words("un sac", events, 1000, 3.0) == ()


@needs_espeak
@pytest.mark.parametrize("voice", ["fr-fr+nobody", "xx-yy", "xx-yy+m1"])
def test_an_unknown_voice_is_an_error_that_names_it_and_the_engine_lives_on(voice: str) -> None:
    with pytest.raises(EspeakError, match=f"no voice `{voice}`".replace("+", r"\+")):
        Espeak().speak(TEXT, voice)
    assert Espeak().speak(TEXT).samples.size > 0


@needs_espeak
@pytest.mark.parametrize(("name", "value"), [("rate_wpm", 79), ("rate_wpm", 451), ("pitch", 100)])
def test_a_number_out_of_range_is_an_error_that_names_it(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"`{name}`.*{value}"):
        Espeak().speak(TEXT, **{name: value})


@needs_espeak
def test_an_engine_that_was_killed_is_an_error_once_and_then_started_again() -> None:
    before = Espeak().speak(TEXT)
    os.kill(Espeak()._process.pid, signal.SIGKILL)
    with pytest.raises(EspeakError, match="has ended"):
        Espeak().speak(TEXT)
    np.testing.assert_array_equal(Espeak().speak(TEXT).samples, before.samples)


@needs_espeak
def test_an_answer_that_breaks_off_is_an_error_and_not_shorter_audio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Espeak().speak(TEXT)
    answer = '{"sample_rate": 22050, "words": [], "num_bytes": 100}'
    program = f"input(); print('{answer}', flush=True); print('cut', end='')"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as cut:
        monkeypatch.setattr(Espeak(), "_process", cut)
        with pytest.raises(EspeakError, match="has ended"):
            Espeak().speak(TEXT)
    np.testing.assert_array_equal(Espeak().speak(TEXT).samples, whole.samples)


@needs_espeak
def test_threads_get_their_own_answers() -> None:
    texts = ["un", "je vais à la gare", "il fait beau à paris aujourd'hui"] * 4
    alone = {text: Espeak().speak(text).samples for text in texts}
    answers: dict[int, np.ndarray] = {}

    def synthesise(index: int) -> None:
        answers[index] = Espeak().speak(texts[index]).samples

    threads = [threading.Thread(target=synthesise, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, text in enumerate(texts):
        np.testing.assert_array_equal(answers[index], alone[text])


@needs_espeak
def test_a_forked_process_has_an_engine_of_its_own() -> None:
    expected = Espeak().speak(TEXT).samples
    child = os.fork()
    if child == 0:
        same = np.array_equal(Espeak().speak(TEXT).samples, expected)
        Espeak()._stop()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(Espeak().speak(TEXT).samples, expected)


def test_without_the_library_the_error_names_the_package_to_install() -> None:
    # The real server, made to look for a library that is not there.
    script = Path(espeak_server.__file__).read_text(encoding="utf-8")
    script = script.replace("libespeak-ng", "libnot-there")
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, check=True, input=b""
    )
    assert b"apt-get install libnot-there1 espeak-ng-data" in run.stdout
    assert b'"error"' in run.stdout
