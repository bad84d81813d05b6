"""Scores of speech by a command as judge: a real process that reads real recordings."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from run_logs import speech_line, text_line, write_run

from echostream.cli import main
from echostream.scoring.judge.command import CommandJudge
from echostream.scoring.judge.error_rate import compare
from echostream.scoring.judge.silence import AS_PLAYED, STREAMSPEECH, WITHOUT_SILENCE
from echostream.scoring.judge.speech import in_spoken_words
from echostream.scoring.judge.store import TRANSCRIPTS
from echostream.scoring.judge.transcript import JudgeError, Transcript, Word, is_loop
from echostream.scoring.log import Utterance

RATE = 16_000
WORD_MS = 100
Capture = pytest.CaptureFixture[str]

# A recogniser of tones: 100 ms at the level 1000 (n + 1) are the word n. Three silent words in a
# row are a pause in which it finds "um". Each recording that it reads is noted beside it.
JUDGE = """
import array, sys, wave
WORDS = "the small cat sleeps".split()
for line in sys.stdin:
    with wave.open(line.rstrip("\\n")) as file:
        samples, rate = array.array("h", file.readframes(-1)), file.getframerate()
    open(__file__ + ".calls", "a").write(line)
    text, pause = [], 0
    for level in samples[rate // 20 :: rate // 10]:
        pause = 0 if level else pause + 1
        if level:
            text.append(WORDS[round(level / 1000) - 1])
        elif pause == 3:
            text.append("um")
    print(" ".join(text).capitalize() + ".")
"""


def sound(words: str) -> list[int]:
    """The speech of some of the four words."""
    order = ["the", "small", "cat", "sleeps"]
    return [
        1000 * (order.index(word) + 1)
        for word in words.split()
        for _ in range(RATE * WORD_MS // 1000)
    ]


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    path = tmp_path / "judge.py"
    path.write_text(JUDGE)
    return path


def calls(judge: Path) -> int:
    """How many recordings the judge has read until now."""
    noted = Path(f"{judge}.calls")
    return len(noted.read_text().splitlines()) if noted.exists() else 0


def make_run(folder: Path) -> Path:
    """Three utterances: spoken in two writes with 500 ms between, in one, and nothing."""
    lines = [
        speech_line(0, [1000.0, 1700.0], [200.0, 200.0]),
        speech_line(1, [4000.0], [300.0]),
        speech_line(2, [], []),
    ]
    write_run(folder, lines)
    (folder / "wavs").mkdir()
    pause = [0] * (RATE // 2)
    for index, samples in enumerate(
        [sound("the small") + pause + sound("cat sleeps"), sound("the small sleeps")]
    ):
        soundfile.write(folder / "wavs" / f"{index}_pred.wav", np.array(samples, np.int16), RATE)
    return folder


def score(run: Path, judge: Path, *flags: str) -> int:
    command = f"command:{sys.executable} {judge}"
    return main(["score", str(run), "--asr-judge", command, *flags])


def written(run: Path) -> dict[str, dict[str, float]]:
    content: dict[str, dict[str, float]] = json.loads((run / "echostream_scores.json").read_text())[
        "speech"
    ]
    return content


def test_the_versions_of_the_silence_are_scored_each_for_itself(
    tmp_path: Path, judge: Path, capsys: Capture
) -> None:
    run = make_run(tmp_path / "run")
    assert score(run, judge) == 0
    found = written(run)
    # Of twelve words five are missing; played with the pause, there is an "um" more.
    rates = {name: found[name]["ASR_WER"] for name in (WITHOUT_SILENCE, AS_PLAYED, STREAMSPEECH)}
    assert rates == pytest.approx(
        {WITHOUT_SILENCE: 500 / 12, AS_PLAYED: 600 / 12, STREAMSPEECH: 500 / 12}
    )
    assert found[WITHOUT_SILENCE]["ASR_BLEU"] > found[AS_PLAYED]["ASR_BLEU"]
    page = capsys.readouterr().out
    assert "normaliser english-1 of both sides" in page
    assert "the judge's own errors are not known" in page
    with open(run / "echostream_scores.tsv", newline="") as file:
        row = next(csv.DictReader(file, delimiter="\t"))
    assert float(row["ASR_WER_as_played"]) == pytest.approx(50)
    # One gap of 500 ms in two utterances that are not empty.
    assert [float(row[f"Discontinuity{name}"]) for name in ("Sum", "Ave", "Num")] == [250, 250, 0.5]


def test_a_second_run_transcribes_nothing_and_a_changed_recording_alone(
    tmp_path: Path, judge: Path
) -> None:
    run = make_run(tmp_path / "run")
    assert score(run, judge) == 0
    first, content = calls(judge), (run / TRANSCRIPTS).read_bytes()
    assert first == 3  # three versions of one, of which two are equal, and the other one
    assert score(run, judge) == 0
    assert calls(judge) == first and (run / TRANSCRIPTS).read_bytes() == content
    samples = np.array(sound("the cat sleeps"), np.int16)
    soundfile.write(run / "wavs" / "1_pred.wav", samples, RATE)
    assert score(run, judge) == 0
    assert calls(judge) == first + 1


def test_another_judge_transcribes_anew(tmp_path: Path, judge: Path) -> None:
    run = make_run(tmp_path / "run")
    assert score(run, judge) == 0
    command = f"command:{sys.executable} -B {judge}"
    assert main(["score", str(run), "--asr-judge", command]) == 0
    assert calls(judge) == 6


def test_a_line_that_was_cut_off_is_transcribed_again(tmp_path: Path, judge: Path) -> None:
    run = make_run(tmp_path / "run")
    assert score(run, judge) == 0
    before = (run / TRANSCRIPTS).read_text().splitlines()
    (run / TRANSCRIPTS).write_text("\n".join(before)[:-30])
    assert score(run, judge) == 0
    lines = (run / TRANSCRIPTS).read_text().splitlines()
    assert json.loads(lines[-1])["index"] == 1 and len(lines) == len(before) + 1


def test_what_was_transcribed_before_a_judge_failed_is_kept(
    tmp_path: Path, judge: Path, capsys: Capture
) -> None:
    run = make_run(tmp_path / "run")
    two = JUDGE.replace("for line in sys.stdin:", "for line in list(sys.stdin)[:2]:")
    judge.write_text(two + "\nsys.exit('no more')\n")
    assert score(run, judge) == 1
    assert "no more" in capsys.readouterr().err
    judge.write_text(JUDGE)
    assert score(run, judge) == 0
    assert calls(judge) == 3


@pytest.mark.parametrize("change", ["[1:]", "[:2]", " * 2"])
def test_transcripts_of_a_judge_that_miscounts_are_not_kept(
    tmp_path: Path, judge: Path, capsys: Capture, change: str
) -> None:
    """The first line may be missing: all after it would be those of other recordings."""
    wanted = make_run(tmp_path / "wanted")
    assert score(wanted, judge) == 0
    run = make_run(tmp_path / "run")
    judge.write_text(
        JUDGE.replace("for line in sys.stdin:", f"for line in list(sys.stdin){change}:")
    )
    assert score(run, judge) == 1
    assert "must print one line for each of 3 recordings" in capsys.readouterr().err
    assert json.loads((run / "echostream_scores.json").read_text())["speech"] is None
    judge.write_text(JUDGE)
    assert score(run, judge) == 0
    texts = [(folder / TRANSCRIPTS).read_text() for folder in (wanted, run)]
    assert sorted(texts[0].splitlines()) == sorted(texts[1].splitlines())


def test_recordings_are_found_beside_a_log_that_was_moved(tmp_path: Path, judge: Path) -> None:
    run = make_run(tmp_path / "run")  # the log has /out/wavs
    assert score(run.rename(tmp_path / "moved"), judge) == 0


def test_a_missing_recording_is_named_and_the_latency_scored(
    tmp_path: Path, judge: Path, capsys: Capture
) -> None:
    run = make_run(tmp_path / "run")
    (run / "wavs" / "1_pred.wav").unlink()
    assert score(run, judge) == 1
    shown = capsys.readouterr()
    assert "the recording of utterance 1 must be" in shown.err and "StartOffset" in shown.out


def test_a_recording_of_another_run_is_refused(
    tmp_path: Path, judge: Path, capsys: Capture
) -> None:
    run = make_run(tmp_path / "run")
    soundfile.write(run / "wavs" / "0_pred.wav", np.ones(77, np.int16), RATE)
    assert score(run, judge) == 1
    assert "is not what the log describes: its 77 samples" in capsys.readouterr().err


@pytest.mark.parametrize("as_list", [False, True])
def test_the_judges_own_errors_are_those_on_the_reference_speech(
    tmp_path: Path, judge: Path, capsys: Capture, as_list: bool
) -> None:
    run = make_run(tmp_path / "run")
    place = tmp_path / "reference"
    place.mkdir()
    for name, words in (("0", "the small cat sleeps"), ("1", "the small cat"), ("9", "cat")):
        soundfile.write(place / f"{name}.wav", np.array(sound(words), np.int16), RATE)
    if as_list:
        place = place / "list.tsv"
        place.write_text("0.wav\tThe small cat sleeps\n1.wav\tthe small cat sleeps\n")
    assert score(run, judge, "--asr-judge-reference", str(place)) == 0
    assert written(run)["reference speech"]["ASR_WER"] == pytest.approx(100 / 8)
    shown = capsys.readouterr().out
    assert "this judge has a WER of 12.5 % on the reference speech" in shown
    assert "the reference speech is of 2 utterances, the run of 3" in shown


def test_a_run_of_text_has_no_speech_to_judge(tmp_path: Path, judge: Path, capsys: Capture) -> None:
    write_run(tmp_path / "run", [text_line(0, "the cat", [1000.0, 2000.0])])
    assert score(tmp_path / "run", judge) == 1
    assert "the output is text" in capsys.readouterr().err


WRONG_FLAGS = {
    "--asr-word-latency": ("needs --asr-judge", ["--asr-word-latency"]),
    "a kind": ("must be whisper:FOLDER or command:CMD", ["--asr-judge", "wav2vec:a"]),
    "no folder": ("whisper:", ["--asr-judge", "whisper:/nowhere"]),
    "quotes": ("cannot be read", ["--asr-judge", "command:'a"]),
    "times": ("no times of words", ["--asr-judge", "command:a", "--asr-word-latency"]),
    "normaliser": ("english-1, plain-1", ["--asr-judge", "command:a", "--asr-normalizer", "b"]),
}


@pytest.mark.parametrize(("message", "flags"), WRONG_FLAGS.values(), ids=WRONG_FLAGS)
def test_wrong_flags_are_refused_before_anything_is_scored(
    tmp_path: Path, capsys: Capture, message: str, flags: list[str]
) -> None:
    assert main(["score", str(tmp_path), *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_command_that_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    judge = CommandJudge(f"{sys.executable} -c 'raise SystemExit(\"no model\")'")
    with pytest.raises(JudgeError, match=r"ended with 1: no model"):
        list(judge.transcribe([tmp_path / "a.wav"]))
    with pytest.raises(JudgeError, match="cannot be run"):
        list(CommandJudge("/no/such/program").transcribe([tmp_path / "a.wav"]))


BAD_JUDGES = {
    "says nothing": ("true", "must print one line for each of 3 recordings, but printed 0"),
    "says too little": ("head -n 1", "must print one line for each of 3 recordings, but printed 1"),
    "says too much": (
        "sh -c 'cat; echo'",
        "must print one line for each of 3 recordings, but printed 4",
    ),
    "fails in silence": ("false", "ended with 1: it printed no reason"),
    "fails at the end": ("sh -c 'cat; exit 3'", "ended with 3"),
    "is killed": ("sh -c 'kill -9 $$'", "was ended by signal 9"),
}


@pytest.mark.parametrize(("command", "message"), BAD_JUDGES.values(), ids=BAD_JUDGES)
def test_a_run_that_a_command_cannot_judge_is_named_and_the_next_is_scored(
    tmp_path: Path, capsys: Capture, command: str, message: str
) -> None:
    run, text = make_run(tmp_path / "run"), tmp_path / "text"
    write_run(text, [text_line(0, "the cat", [900, 1200])])
    assert main(["score", str(run), str(text), "--asr-judge", f"command:{command}"]) == 1
    printed = capsys.readouterr()
    assert f"{run / 'instances.log'}: command {command}: {message}" in printed.err
    assert str(text) in printed.out and str(run) in printed.out  # what needs no judge is there


@pytest.mark.parametrize("num", [0, 1, 2])
def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, num: int) -> None:
    """After the time for the transcripts that are missing; those that it gave are not lost."""
    child = tmp_path / "child"
    words = "echo the cat; " * num
    judge = CommandJudge(f"sh -c 'sleep 600 & echo $! > {child}; {words} wait'", seconds=60)
    found = judge.transcribe([tmp_path / "a.wav", tmp_path / "b.wav"])
    assert [next(found).text for _ in range(num)] == ["the cat"] * num
    judge._seconds = 0.02  # only now, so that a slow machine may take its time until here
    with pytest.raises(
        JudgeError,
        match=rf"gave {num} of 2 transcripts and then nothing for {0.02 * (3 - num):g} s",
    ):
        next(found)
    if num:  # else it may have been ended before it had a child
        status = Path("/proc", child.read_text().strip(), "stat")
        for _ in range(1000):  # a signal takes its time on a busy machine
            if not is_running(status):
                break
            time.sleep(0.01)
        assert not is_running(status)


def is_running(status: Path) -> bool:
    try:
        return status.read_text().split()[2] != "Z"  # ended, not yet removed
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_nobody_waits_for_a_command_whose_transcripts_are_not_read_to_the_end(
    tmp_path: Path,
) -> None:
    judge = CommandJudge("sh -c 'echo one; sleep 600'")
    found = judge.transcribe([tmp_path / "a.wav", tmp_path / "b.wav"])
    assert next(found).text == "one"
    found.close()  # type: ignore[attr-defined]


def test_a_command_may_print_before_it_has_read_all_paths(tmp_path: Path) -> None:
    paths = [tmp_path / f"{'long' * 40}{place}.wav" for place in range(2000)]
    judge = CommandJudge(f"{sys.executable} -c 'import sys; [print(l * 9) for l in sys.stdin]'")
    with pytest.raises(JudgeError, match="printed"):  # each path is nine lines
        list(judge.transcribe(paths))


LOOPS = {
    "thank you thank you thank you thank you": True,
    "thank you thank you thank you": False,
    "no no no no": True,
    "su-su-su-su-su": True,
    "we see my parents and my friends": False,
    "a b c d e f g h " * 4: True,
    "": False,
}


@pytest.mark.parametrize(("text", "looped"), LOOPS.items())
def test_a_phrase_over_three_times_in_a_row_is_a_loop(text: str, looped: bool) -> None:
    assert is_loop(text) is looped


def test_a_loop_counts_no_more_than_twice_its_reference() -> None:
    long = Transcript("the cat " + "sleeps and sleeps " * 50, None, False)
    found = compare([long, Transcript("the cat")], ["the cat", "the cat"], "plain-1")
    assert (found.word_error_rate, found.num_looped) == (100 * 2 / 4, 1)


def test_words_are_timed_by_the_playing_of_the_writes() -> None:
    one = Utterance(0, "a", "the small cat", (1000.0, 3000.0), (), 4000.0, durations=(500.0, 900.0))
    words = (Word("The", 0.0, 0.25), Word("small", 0.25, 0.75), Word("cat", 0.8, 1.4))
    found = in_spoken_words(one, Transcript("The small cat", words))
    # The first write is played from 1000, the second, in which the other words end, from 3000.
    assert found.delays == pytest.approx((1250.0, 3250.0, 3900.0))
    assert found.reference_units == 3 and not found.durations
