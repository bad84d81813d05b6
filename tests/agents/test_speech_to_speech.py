"""The speech-to-speech agent through the real simuleval: samples, transcripts, scores."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from agent_calls import command_line, read_log, read_scores, run_simuleval, write_recordings
from espeak_needed import needs_espeak
from simuleval.data.segments import SpeechSegment
from tiny_model import SAMPLE_RATE, babble
from tiny_speech import make_speaking_folder
from tiny_voice import make_voice_folder

from echostream.agents import SpeechToSpeechTranslationAgent
from echostream.doctor.speech_scoring import patched_speech_scoring
from echostream.frontend.audio import read_audio
from echostream.scoring.log import read_complete_log
from echostream.scoring.metrics.backlog import backlog
from echostream.scoring.simuleval_scores import Counting
from echostream.scoring.simuleval_speech import score_speech
from echostream.scoring.timeline import in_simuleval_units
from echostream.session.translator import Output, StreamingTranslator, joined_text

S2ST = ("--agent-class", "echostream.agents.SpeechToSpeechTranslationAgent")
METRICS = ("AL", "LAAL", "AP", "DAL", "ATD", "StartOffset", "EndOffset", "NumChunks")
GAPS = ("DiscontinuitySum", "DiscontinuityAve", "DiscontinuityNum")


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_speaking_folder(tmp_path_factory.mktemp("speaking"))


def arguments(model: Path, **given: object) -> Namespace:
    parser = ArgumentParser()
    SpeechToSpeechTranslationAgent.add_args(parser)
    args = parser.parse_args(["--model-path", str(model)])
    return Namespace(**{**vars(args), **given})


def outputs_of(model: Path, path: Path) -> list[Output]:
    """What a session gives for a recording in segments of 320 ms."""
    session = StreamingTranslator.load(model, speech=True)
    samples, rate = read_audio(path)
    size = rate * 320 // 1000
    outputs = []
    for start in range(0, len(samples), size):
        outputs += session.push(samples[start : start + size], rate)
    return outputs + session.finish()


def test_simuleval_writes_the_speech_of_a_session_and_scores_it(
    speaking: Path, tmp_path: Path
) -> None:
    recordings = write_recordings(tmp_path)
    flags = [
        *S2ST,
        *("--model-path", str(speaking), "--extra-output-dir", str(tmp_path / "extra")),
        *("--quality-metrics", "ASR_BLEU", "--target-speech-lang", "en"),
        *("--latency-metrics", *METRICS, *GAPS, "--computation-aware"),
    ]
    done = run_simuleval(tmp_path, *command_line(tmp_path, recordings, flags, None))
    assert done.returncode == 0, done.stderr[-2000:]
    log = read_log(tmp_path)
    assert len(log) == len(recordings)
    texts, units = [], []
    for line, path in zip(log, recordings, strict=True):
        wave, rate = sf.read(tmp_path / "out" / "wavs" / f"{line['index']}_pred.wav")
        assert rate == SAMPLE_RATE
        outputs = outputs_of(speaking, path)
        spoken = np.concatenate([np.zeros(0), *(output.samples for output in outputs)])
        texts.append(joined_text(outputs))
        units.append(" ".join(str(unit) for output in outputs for unit in output.units))
        if len(spoken):
            assert len(spoken) == round(16 * sum(line["durations"]))
            # SimulEval's recording begins with the first sound; it does not fade.
            played = np.zeros(0)
            for output in outputs:
                if len(output.samples):
                    gap = max(0, round(16 * output.delay_ms) - len(played))
                    played = np.concatenate([played, np.zeros(gap), output.samples])
            played = played[-len(wave) :].clip(-1, 1)
            np.testing.assert_allclose(wave, played, atol=1e-3, rtol=0)
        else:
            assert not wave.any()
    extra = tmp_path / "extra"
    assert (extra / "st.txt").read_text().splitlines() == texts
    assert (extra / "unit.txt").read_text().splitlines() == units
    assert len((extra / "asr.txt").read_text().splitlines()) == len(recordings)
    # SimulEval scores the speech itself, and ours are the same numbers.
    scores = read_scores(tmp_path)
    utterances = read_complete_log(tmp_path / "out" / "instances.log", len(log), "write")
    ours = score_speech(utterances, Counting("write"))
    for name in (*METRICS, *GAPS):
        assert float(scores[name]) == pytest.approx(getattr(ours, name), abs=1e-3), name
    # The agent reports the backlog of each utterance as SimulEval will play it.
    reported = [line.split() for line in (extra / "backlog.txt").read_text().splitlines()]
    timelines = [in_simuleval_units(utterance, "write", None) for utterance in utterances]
    for found, timeline in zip(reported, timelines, strict=True):
        assert list(map(float, found)) == pytest.approx(backlog(timeline), abs=0.051)


def test_an_utterance_without_words_has_a_sample_and_ends(speaking: Path) -> None:
    agent = SpeechToSpeechTranslationAgent(arguments(speaking))
    segment = SpeechSegment(content=[], sample_rate=SAMPLE_RATE, finished=True)
    found = agent.pushpop(segment)
    assert found.finished and len(found.content) >= 1
    assert found.sample_rate == SAMPLE_RATE
    assert all(isinstance(value, float) for value in found.content)


def spoken_by(agent: SpeechToSpeechTranslationAgent) -> list[float]:
    """The samples for one utterance, in segments of 320 ms."""
    agent.reset()
    found: list[float] = []
    samples = babble(3, seed=3).tolist()
    for start in range(0, len(samples), 5120):
        piece = samples[start : start + 5120]
        segment = SpeechSegment(
            content=piece, sample_rate=SAMPLE_RATE, finished=start + 5120 >= len(samples)
        )
        found += agent.pushpop(segment).content
    return found


def test_a_finished_utterance_leaves_nothing_for_the_next(speaking: Path) -> None:
    agent = SpeechToSpeechTranslationAgent(arguments(speaking))
    first = spoken_by(agent)
    assert len(first) > 320
    assert spoken_by(agent) == first


def test_onnx_runtime_speaks_the_samples_of_pytorch(exported_speech: Path) -> None:
    found, wanted = (
        spoken_by(SpeechToSpeechTranslationAgent(arguments(exported_speech, backend=backend)))
        for backend in ("onnx", "torch")
    )
    assert len(wanted) > 4000
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


def test_streamspeechs_vocoder_is_ignored_for_units_of_the_models_own(
    speaking: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        SpeechToSpeechTranslationAgent(arguments(speaking, vocoder="/nowhere/g_00500000"))
    assert "`--vocoder` is ignored: the units of this model are its own" in caplog.text


@pytest.mark.parametrize("continues", [True, False])
def test_a_resumed_run_is_warned_of_scores_of_a_part(
    speaking: Path, caplog: pytest.LogCaptureFixture, continues: bool
) -> None:
    args = arguments(speaking, continue_unfinished=continues)
    with patched_speech_scoring(), caplog.at_level(logging.WARNING):
        SpeechToSpeechTranslationAgent.from_args(args)
    assert ("those of the utterances of this run alone" in caplog.text) is continues


def test_a_model_that_cannot_speak_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="`speech` needs a model with a unit decoder"):
        SpeechToSpeechTranslationAgent(arguments(folder))


@needs_espeak
def test_a_voice_speaks_for_a_model_of_text(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voice = f"piper:{make_voice_folder(tmp_path / 'voice')}"
    given = {"voice": voice, "vocoder": "/nowhere/g_00500000", "extra_output_dir": tmp_path}
    with caplog.at_level(logging.WARNING):
        agent = SpeechToSpeechTranslationAgent(arguments(folder, **given))
    assert "`--vocoder` is ignored: the voice of `--voice` speaks" in caplog.text
    samples = np.concatenate([babble(3, seed=3), np.zeros(3 * SAMPLE_RATE, np.float32)])
    found = agent.pushpop(SpeechSegment(content=samples.tolist(), sample_rate=SAMPLE_RATE))
    last = agent.pushpop(SpeechSegment(content=[], sample_rate=SAMPLE_RATE, finished=True))
    session = StreamingTranslator.load(folder, voice=voice, speech=True)
    outputs = [*session.push(samples, SAMPLE_RATE), *session.finish()]
    spoken = np.concatenate([output.samples for output in outputs])
    assert len(spoken) > 320 and last.finished and not last.content
    np.testing.assert_array_equal([*found.content, *last.content], spoken)
    assert (tmp_path / "st.txt").read_text() == f"{joined_text(outputs)}\n"
    assert not (tmp_path / "unit.txt").exists()
