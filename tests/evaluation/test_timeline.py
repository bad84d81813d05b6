"""`echostream timeline`: times of a session, numbers of the log, a page that stands alone."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from browser import browser, needs_chromium
from run_logs import fork_line, speech_line, text_line
from servers import Lists, local_run, write_lists
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.cli import main
from echostream.evaluation.timeline.trace import trace
from echostream.model_folder import load_model
from echostream.scoring.score import Options, score_run
from echostream.session.translator import StreamingTranslator
from echostream.session_config import SessionConfig

CONFIGS = [
    SessionConfig(),
    SessionConfig(max_future_frames=1),
    SessionConfig(lagging_k1=2, stride_n=2),
    SessionConfig(decoding_method="decoder", lagging_k1=1),
    SessionConfig(decoding_method="decoder", policy="wait-k:2"),
    SessionConfig(decoding_method="decoder", policy="alignatt:4", max_future_frames=1),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model") / "tiny", decoder_layers=1)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    folder = tmp_path_factory.mktemp("audio")
    paths = []
    for number in range(3):
        paths.append(folder / f"talk-{number}.wav")
        sf.write(paths[-1], babble(2.0 + number, seed=number), SAMPLE_RATE)
    return write_lists(folder, paths)


@pytest.fixture(scope="module")
def run(model: Path, lists: Lists, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the real simuleval."""
    output = tmp_path_factory.mktemp("run") / "L0"
    local_run(lists, output, "--agent", "agents/s2tt.py", "--model-path", str(model))
    return output


def content(page: Path) -> dict[str, Any]:
    """The data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    return dict(json.loads(found[1]))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_words_are_complete_when_a_session_writes_them(
    model: Path, config: SessionConfig, rate: int
) -> None:
    samples = babble(5.3, seed=3, sample_rate=rate)
    loaded = load_model(model)
    found = trace(loaded, config, samples, rate)
    session, written = StreamingTranslator(loaded, replace(config, transcript=True)), []
    sources = []
    for start in range(0, len(samples), rate // 100):
        for output in session.push(samples[start : start + rate // 100], rate):
            written += [(word, output.delay_ms) for word in output.words]
            sources += [(word, output.delay_ms) for word in output.source_words]
    for output in session.finish():
        written += [(word, output.delay_ms) for word in output.words]
        sources += [(word, output.delay_ms) for word in output.source_words]
    assert [(word.text, word.complete) for word in found.words] == written
    assert len(written) > 5 or config.decoding_method == "decoder"  # which writes one word here
    assert found.source_words == sources
    for word in found.words:
        assert word.allowed <= word.complete
        if word.found is not None and config.decoding_method == "ctc":
            assert word.found <= word.allowed


def test_spikes_are_the_tokens_of_the_heads(model: Path) -> None:
    loaded, samples = load_model(model), babble(4.7, seed=4)
    found = trace(loaded, SessionConfig(), samples, SAMPLE_RATE)
    for spikes, last in (
        (found.asr, found.groups[-1].num_asr),
        (found.st, found.groups[-1].num_st),
    ):
        assert len(spikes) == last > 5
        times = [spike.ms for spike in spikes]
        assert times == sorted(set(times)) and all(ms % 40 == 0 for ms in times)
    text = "".join(spike.text for spike in found.st)
    assert text.split() == [word.text for word in found.words]
    for group, spike in zip([g for g in found.groups if g.num_st], found.st, strict=False):
        assert spike.ms < group.ms  # the frame lies within the audio that was encoded


def test_numbers_are_those_of_the_log(run: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["timeline", str(run), "-o", str(page), "--model-path", str(model)]) == 0
    data = content(page)
    scores = score_run(run / "instances.log", Options("st", None, None, None, None, None))
    assert scores.words is not None and scores.quality is not None
    (mine,) = data["runs"]
    assert mine["AL"] == scores.words.values["AL"] and mine["LAAL"] == scores.words.values["LAAL"]
    assert mine["bleu"] == scores.quality.BLEU and mine["traced"] == 3
    for shown, one in zip(data["utterances"], scores.log.utterances, strict=True):
        (mine,) = shown["runs"]
        assert tuple(mine["delays"]) == one.delays and tuple(mine["elapsed"]) == one.elapsed
        assert " ".join(mine["words"]) == one.prediction and shown["reference"] == one.reference
        assert len(shown["peaks"]) == 600 and shown["name"].startswith("talk-")
        for (_, _, _, complete), written in zip(
            mine["trace"]["words"], mine["delays"], strict=True
        ):
            assert written - 320 < complete <= written or written == one.source_ms


def test_a_point_of_a_curve_names_its_model_and_options(
    model: Path, lists: Lists, tmp_path: Path
) -> None:
    output = tmp_path / "curve"
    words = ["curve", "--model-path", str(model), "--output", str(output), *lists.flags[:4]]
    words += ["--segment-sizes", "320", "--max-future-frames", "0", "1", "--policies", "decoder:1"]
    assert main(words) == 0
    points = [str(output / f"L{lookahead}_seg320_n1_decoder-k1") for lookahead in (0, 1)]
    page = tmp_path / "page.html"
    assert main(["timeline", *points, "-o", str(page)]) == 0
    data = content(page)
    assert [one["traced"] for one in data["runs"]] == [3, 3]
    assert "L 1, decoding method decoder, lagging k1 1" in data["runs"][1]["about"]
    assert all(len(one["runs"]) == 2 and all(one["runs"]) for one in data["utterances"])


@pytest.mark.parametrize("kind", ["words", "pieces", "no reference"])
def test_logs_of_other_systems_have_no_spikes(tmp_path: Path, kind: str) -> None:
    lines = [text_line(n, "a small cat", [900, 1400, 2000]) for n in range(2)]
    if kind == "pieces":
        lines = [fork_line(0, ["▁a", "▁sm", "all", "▁cat"], [700, 900, 1400, 2000])]
    if kind == "no reference":
        lines = [{**line, "reference": None} for line in lines]
    (tmp_path / "instances.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = tmp_path / "page.html"
    assert main(["timeline", str(tmp_path), "-o", str(page)]) == 1  # the recording is missing
    scores = score_run(tmp_path / "instances.log", Options("st", None, None, None, None, None))
    table = scores.words or scores.simuleval_units
    data = content(page)
    assert data["runs"][0]["AL"] == pytest.approx(table.values["AL"])
    # The pieces of a word are not known without their model.
    words = ["1", "2", "3", "4"] if kind == "pieces" else ["a", "small", "cat"]
    for one in data["utterances"]:
        assert one["runs"][0]["words"] == words and one["peaks"] == []
        assert len(one["runs"][0]["delays"]) == len(words) and one["runs"][0]["trace"] is None
        assert (one["runs"][0]["bleu"] is None) == (kind == "no reference")


def test_a_log_of_simulstream_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("simulstream")
    sf.write(tmp_path / "a.wav", babble(3.0, seed=1), SAMPLE_RATE)
    lines: list[dict[str, Any]] = [{"id": 0, "metadata": {"wav_name": str(tmp_path / "a.wav")}}]
    for second, back, new in ((1, [], ["one", "tow"]), (2, ["tow"], ["two"]), (3, [], ["three"])):
        lines.append(
            {
                "id": 0,
                "total_audio_processed": float(second),
                "computation_time": 0.25,
                "deleted_tokens": back,
                "generated_tokens": new,
            }
        )
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["timeline", str(log), "-o", str(tmp_path / "page.html")]) == 0
    (one,) = content(tmp_path / "page.html")["utterances"]
    assert one["runs"][0]["words"] == ["one", "two", "three"] and one["ms"] == 3000
    assert one["runs"][0]["delays"] == [1000, 2000, 3000]
    assert one["runs"][0]["elapsed"] == [1250, 2250, 3250] and len(one["peaks"]) == 600


def test_options_of_another_run_are_reported(
    run: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    words = ["timeline", str(run), "-o", str(page), "--model-path", str(model)]
    assert main([*words, "--decoding-method", "decoder"]) == 1
    assert "other words than the model with these options" in capsys.readouterr().err
    assert content(page)["utterances"][0]["runs"][0]["trace"] is None


def test_bad_input_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speech = tmp_path / "speech"
    speech.mkdir()
    line = speech_line(0, [1000.0], [500.0])
    (speech / "instances.log").write_text(json.dumps(line) + "\n")
    output = ["-o", str(tmp_path / "page.html")]
    for words, message in (
        ([str(tmp_path / "missing")], "missing"),
        ([str(speech)], "speech"),
        ([str(run)] * 3, "3 are given"),
        ([str(run), "--model-path", str(tmp_path)], str(tmp_path)),
    ):
        assert main(["timeline", *words, *output]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


HOSTILE = "</script><script>document.title = 'broken'</script> @DATA@ @STYLE@ & <b> \u2028"


def write_hostile_run(folder: Path) -> Path:
    folder.mkdir()
    sf.write(folder / "a.wav", babble(2.0, seed=1), SAMPLE_RATE)
    lines = [
        text_line(n, text, [500.0 * (i + 1) for i in range(len(text.split()))], reference=HOSTILE)
        for n, text in enumerate(["<i>one</i> two", "", HOSTILE])
    ]
    lines = [{**line, "source": [str(folder / "a.wav")]} for line in lines]
    log = folder / "instances.log"
    log.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return folder


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["timeline", str(write_hostile_run(tmp_path / "@DATA@")), "-o", str(page)]) == 0
    text = page.read_text()
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|img|iframe)|\bimport\b|fetch\(|src=", text.split('id="data"')[0])
    assert len(content(page)["utterances"]) == 1  # all three are of one recording


@needs_chromium
def test_the_page_in_a_browser(run: Path, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    hostile = str(write_hostile_run(tmp_path / "hostile"))
    runs = [str(run), hostile]
    assert main(["timeline", *runs, "-o", str(page), "--model-path", str(model)]) == 1
    data = content(page)

    async def use() -> None:
        async with browser(page.as_uri()) as tab:
            await tab.until("document.querySelectorAll('#list tbody tr').length > 0")
            assert await tab.run("document.querySelector('h1').textContent") == "Timeline"
            cells = "document.querySelectorAll('#list tbody tr td:first-child')"
            names = f"[...{cells}].map(cell => cell.textContent)"
            assert await tab.run(names) == [one["name"] for one in data["utterances"]]
            for column, key in ((1, lambda one: one["ms"]), (0, lambda one: one["name"])):
                for reverse in (False, True):
                    click = f"document.querySelectorAll('#list th button')[{column}].click()"
                    await tab.run(click)
                    wanted = sorted(data["utterances"], key=key, reverse=reverse)
                    assert await tab.run(names) == [one["name"] for one in wanted]
            for row, wanted in enumerate(await tab.run(names)):
                await tab.run(f"document.querySelectorAll('#list tbody tr')[{row}].click()")
                name = await tab.run("document.querySelector('#detail h2').textContent")
                assert name == wanted
                (one,) = [one for one in data["utterances"] if one["name"] == name]
                dots = await tab.run("document.querySelectorAll('#detail .dot').length")
                assert dots == sum(len(mine["words"]) for mine in one["runs"] if mine)
                spikes = await tab.run("document.querySelectorAll('#detail line.asr').length")
                traces = [mine["trace"] for mine in one["runs"] if mine and mine["trace"]]
                assert spikes == sum(len(found["asr"]) for found in traces)
            assert await tab.run("document.documentElement.scrollWidth <= window.innerWidth")
            assert tab.problems == []
            assert "broken" not in await tab.run("document.title")

    asyncio.run(use())


def test_a_waveform_has_the_loudest_sample_of_each_part() -> None:
    from echostream.evaluation.waveform import peaks

    samples = np.array([0.1, -0.5, 0.2, 0.3, -0.9, 0.0])
    assert peaks(samples, 3) == [0.5, 0.3, 0.9]
    assert peaks(samples[:0], 2) == [0.0, 0.0]
