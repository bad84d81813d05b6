"""simulstream's processor writes what the session writes, keeps streams apart and deletes nothing.

Its calls by hand; `test_simulstream_commands.py` runs simulstream's own programs.
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from simulstream.server.speech_processors import build_speech_processor
from simulstream.server.speech_processors.incremental_output import IncrementalOutput
from tiny_model import SAMPLE_RATE, babble

from echostream.config import ConfigError
from echostream.model_folder import ModelFolderError, load_model
from echostream.session.translator import StreamingTranslator
from echostream.simulstream import EchoStreamProcessor

CHUNK = 5120  # samples: 320 ms


def configuration(folder: Path, **keys: object) -> SimpleNamespace:
    """As simulstream reads it from YAML."""
    given = {
        "type": "echostream.simulstream.EchoStreamProcessor",
        "speech_chunk_size": CHUNK / SAMPLE_RATE,
        "model_path": str(folder),
    }
    return SimpleNamespace(**(given | keys))


def processor(folder: Path, **keys: object) -> EchoStreamProcessor:
    built = build_speech_processor(configuration(folder, **keys))
    assert isinstance(built, EchoStreamProcessor)
    return built


def chunks(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK)]


def stream(processor: EchoStreamProcessor, samples: NDArray[np.float32]) -> list[IncrementalOutput]:
    """A stream from its first chunk to its end, without `clear`."""
    return [*map(processor.process_chunk, chunks(samples)), processor.end_of_stream()]


def by_session(folder: Path, samples: NDArray[np.float32], **session: object) -> list[list[str]]:
    """The words of each chunk and of the end, by the session alone."""
    translator = StreamingTranslator(load_model(folder), **session)  # type: ignore[arg-type]
    steps = [translator.push(chunk, SAMPLE_RATE) for chunk in chunks(samples)]
    steps.append(translator.finish())
    return [[word for output in step for word in output.text.split()] for step in steps]


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"max_future_frames": 1, "stride_n": 2},
        {"lagging_k1": 2, "lagging_k2": 1},
        {"task": "asr"},
    ],
    ids=str,
)
def test_each_chunk_brings_the_words_that_the_session_writes(
    folder: Path, session: dict[str, object]
) -> None:
    samples = babble(4, 60)
    outputs = stream(processor(folder, **session), samples)
    expected = by_session(folder, samples, **session)
    assert [output.new_tokens for output in outputs] == expected
    assert sum(map(len, expected)) > 5


def test_nothing_is_deleted_and_the_pieces_join_to_the_text(folder: Path) -> None:
    samples = babble(4, 61)
    outputs = stream(processor(folder), samples)
    assert all(not output.deleted_tokens and not output.deleted_string for output in outputs)
    words = [word for step in by_session(folder, samples) for word in step]
    assert "".join(output.new_string for output in outputs).strip() == " ".join(words) != ""


def test_the_end_of_a_stream_is_the_beginning_of_the_next(folder: Path) -> None:
    """simulstream's voice activity detector ends a stream at each pause and does not clear it."""
    built = processor(folder)
    for seed in (62, 63):
        samples = babble(2.1, seed)
        outputs = stream(built, samples)
        assert [output.new_tokens for output in outputs] == by_session(folder, samples)


def test_clear_forgets_a_stream_that_was_broken_off(folder: Path) -> None:
    built = processor(folder)
    for chunk in chunks(babble(3, 64)):
        built.process_chunk(chunk)
    built.clear()
    samples = babble(2, 65)
    outputs = stream(built, samples)
    assert [output.new_tokens for output in outputs] == by_session(folder, samples)


def test_a_stream_without_a_sample_ends_with_nothing(folder: Path) -> None:
    output = processor(folder).end_of_stream()
    assert (output.new_tokens, output.new_string) == ([], "")


def test_two_processors_share_the_model_and_nothing_else(folder: Path) -> None:
    first, second = processor(folder), processor(folder)
    assert first._session.model is second._session.model
    one, other = babble(3, 66), babble(3, 67)
    together: tuple[list[list[str]], list[list[str]]] = ([], [])
    for pair in zip(chunks(one), chunks(other), strict=True):
        for built, chunk, words in zip((first, second), pair, together, strict=True):
            words.append(built.process_chunk(chunk).new_tokens)
    for built, words in zip((first, second), together, strict=True):
        words.append(built.end_of_stream().new_tokens)
    assert together == (by_session(folder, one), by_session(folder, other))


def test_the_chunk_size_is_the_one_configured(folder: Path) -> None:
    assert processor(folder, speech_chunk_size=1).speech_chunk_size == 1


def test_the_keys_of_the_voice_activity_detector_are_left_to_it(folder: Path) -> None:
    keys = {"vad_threshold": 0.4, "min_speech_size": 2, "base_speech_processor_class": "x.Y"}
    assert processor(folder, **keys).speech_chunk_size == CHUNK / SAMPLE_RATE


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"segment_ms": 320}, "simulstream's configuration: `segment_ms` is not a key"),
        ({"speech_chunk_size": 0}, "`speech_chunk_size` must be a positive number of seconds"),
        ({"speech_chunk_size": "long"}, "`speech_chunk_size` must be float, but is 'long'"),
        ({"latency_unit": "char"}, "`latency_unit` must be 'word', the emission unit of"),
        ({"latency_unit": "spm"}, "`latency_unit` must be one of word, char, but is 'spm'"),
        ({"detokenizer_type": "hf"}, "`detokenizer_type` must be 'simuleval', because"),
    ],
)
def test_a_key_that_is_not_allowed_is_named(
    folder: Path, keys: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        processor(folder, **keys)


def test_what_the_model_cannot_do_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`stride_n`"):
        processor(folder, stride_n=0)
    with pytest.raises(ValueError, match="decoder"):
        processor(folder, decoding_method="decoder")  # the tiny model has none
    with pytest.raises(ModelFolderError, match="none does not exist"):
        processor(tmp_path / "none")


def test_a_model_that_was_not_loaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"call `load_model\(config\)` first"):
        EchoStreamProcessor(configuration(tmp_path))


def test_a_language_that_the_model_does_not_have_is_refused(folder: Path) -> None:
    built = processor(folder, source_lang="fr", target_lang="en")
    built.set_source_language("FR")
    built.set_target_language("en")
    with pytest.raises(
        ValueError, match="`target_lang` must be 'en', that of the model, but is 'de'"
    ):
        built.set_target_language("de")


def test_a_language_that_cannot_be_checked_is_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        processor(folder).set_source_language("it")
    assert "'it' was requested" in caplog.text
    assert "set `source_lang`" in caplog.text
