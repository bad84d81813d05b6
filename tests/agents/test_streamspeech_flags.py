"""Every flag of StreamSpeech's agents is understood, and none of SimulEval's is taken."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

import pytest
from simuleval import options
from simuleval.data.dataloader import SpeechToTextDataloader
from simuleval.data.segments import SpeechSegment
from tiny_model import SAMPLE_RATE, babble, make_model_folder

from echostream.agents import SpeechToTextTranslationAgent, StreamingASRAgent
from echostream.agents.options import add_args, parse_bool

# What StreamSpeech's text agents declare, with their types and defaults, and its speech agent's
# four more. `--model-path` is required there and here; --data-bin and --vocoder only there.
STREAMSPEECH = (
    ("--data-bin", str, None),
    ("--config-yaml", str, None),
    ("--multitask-config-yaml", str, None),
    ("--global-stats", str, None),
    ("--tgt-splitter-type", str, "SentencePiece"),
    ("--tgt-splitter-path", str, None),
    ("--user-dir", str, "researches/ctc_unity"),
    ("--agent-dir", str, "agent"),
    ("--max-len", int, 200),
    ("--force-finish", None, False),
    ("--shift-size", int, 10),
    ("--window-size", int, 25),
    ("--sample-rate", int, 48000),
    ("--feature-dim", int, 80),
    ("--lagging-k1", int, 0),
    ("--lagging-k2", int, 0),
    ("--segment-size", int, 320),
    ("--stride-n", int, 1),
    ("--stride-n2", int, 1),
    ("--unit-per-subword", int, 15),
    ("--extra-output-dir", str, None),
    ("--vocoder", str, None),
    ("--vocoder-cfg", str, None),
    ("--dur-prediction", None, False),
    ("--output-asr-translation", bool, False),
)

# All names in the parser of StreamSpeech's copy of SimulEval, where a second declaration of one is
# an error, by where they are declared. ASR_BLEU and WHISPER_ASR_BLEU bring the last four.
FORK_GENERAL = (
    *("--agent", "--agent-class", "--dataloader", "--device", "--help", "-h", "--log-level"),
    *("--remote-eval", "--score-only", "--slurm", "--standalone", "--system-config"),
    "--system-dir",
)
FORK_EVALUATION = (
    *("--computation-aware", "--continue-unfinished", "--end-index", "--eval-latency-unit"),
    *("--latency-metrics", "--no-progress-bar", "--no-use-ref-len", "--output"),
    *("--quality-metrics", "--remote-address", "--remote-port", "--sacrebleu-tokenizer"),
    *("--slurm-job-name", "--slurm-partition", "--slurm-time", "--source"),
    *("--source-segment-size", "--source-type", "--start-index", "--target", "--target-type"),
    *("--target-speech-lang", "--transcript-lowercase", "--transcript-non-punctuation"),
    "--whisper-model-size",
)

AGENTS = (SpeechToTextTranslationAgent, StreamingASRAgent)


def parse(*flags: str) -> Namespace:
    parser = ArgumentParser()
    add_args(parser)
    return parser.parse_args(["--model-path", "m", *flags])


def names(parser: ArgumentParser) -> set[str]:
    return set(parser._option_string_actions)


def fork_parser(*flags: str) -> ArgumentParser:
    """A parser that holds these names and, as in StreamSpeech's copy, refuses to hold one twice."""
    parser = ArgumentParser(add_help=False)
    for flag in flags:
        parser.add_argument(flag)
    return parser


def general_parser(monkeypatch: pytest.MonkeyPatch) -> ArgumentParser:
    """SimulEval's own first parser, which looks at the command line at once."""
    monkeypatch.setattr("sys.argv", ["simuleval"])
    return options.general_parser()


@pytest.mark.parametrize(("flag", "kind", "default"), STREAMSPEECH, ids=lambda value: str(value))
def test_a_flag_has_streamspeechs_default_and_type(
    flag: str, kind: type | None, default: object
) -> None:
    name = flag.removeprefix("--").replace("-", "_")
    assert vars(parse())[name] == default
    given = {str: "some/path", int: "7", bool: "True", None: None}[kind]
    wanted = {str: "some/path", int: 7, bool: True, None: True}[kind]
    found = vars(parse(flag) if given is None else parse(flag, given))[name]
    assert found == wanted and type(found) is type(wanted)
    if kind is int:
        with pytest.raises(SystemExit):
            parse(flag, "seven")


def test_only_the_model_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    add_args(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "required: --model-path" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [("True", True), ("true", True), ("1", True), ("False", False), ("0", False), ("", False)],
)
def test_the_word_false_is_false(text: str, value: bool) -> None:
    """`type=bool` of StreamSpeech takes it for true."""
    assert parse("--output-asr-translation", text).output_asr_translation is value
    with pytest.raises(ArgumentTypeError, match="must be True or False, but is 'Ture' instead"):
        parse_bool("Ture")


@pytest.mark.parametrize(
    ("flag", "allowed", "default"),
    [
        ("--decoding-method", ("ctc", "decoder"), "ctc"),
        ("--text-output", ("auto", "word", "spm"), "auto"),
        ("--cmvn", ("model", "data-bin"), "model"),
    ],
)
def test_our_own_flags_take_a_few_words(flag: str, allowed: tuple[str, ...], default: str) -> None:
    name = flag.removeprefix("--").replace("-", "_")
    assert vars(parse())[name] == default
    assert [vars(parse(flag, word))[name] for word in allowed] == list(allowed)
    with pytest.raises(SystemExit):
        parse(flag, "other")


@pytest.mark.parametrize("agent", AGENTS)
def test_no_name_of_streamspeechs_simuleval_is_declared(agent: type) -> None:
    taken = {*FORK_GENERAL, *FORK_EVALUATION}
    parser = fork_parser(*sorted(taken))
    agent.add_args(parser)  # it raises if a name is declared again
    assert {flag for flag, *_ in STREAMSPEECH} | {"--model-path"} <= names(parser) - taken


def test_with_pypis_simuleval_only_user_dir_is_declared_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parser = general_parser(monkeypatch)
    options.add_evaluator_args(parser)
    options.add_scorer_args(parser, [])
    options.add_slurm_args(parser)
    SpeechToTextDataloader.add_args(parser)
    before = dict(parser._option_string_actions)
    add_args(parser)
    changed = [flag for flag in before if parser._option_string_actions[flag] is not before[flag]]
    assert changed == ["--user-dir"]


def test_flags_may_be_declared_again_on_a_parser_that_lets_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parser = general_parser(monkeypatch)
    add_args(parser)
    first = parser.parse_args(["--model-path", "m", "--max-len", "3"])
    add_args(parser)
    assert parser.parse_args(["--model-path", "m", "--max-len", "3"]) == first
    assert parser.format_help().count("\n  --max-len") == 1


@pytest.mark.parametrize("build", ["pypi", "fork"])
def test_no_flag_of_simuleval_is_taken_for_short_for_one_of_ours(
    build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --system-dir, SimulEval parses the whole command line before it declares these."""
    parser = general_parser(monkeypatch) if build == "pypi" else fork_parser(*FORK_GENERAL)
    missing = [flag for flag in FORK_EVALUATION if flag not in names(parser)]
    needed = {"--output", "--eval-latency-unit"}  # declared where they are missing
    assert needed <= set(missing)
    add_args(parser)
    for flag in missing:
        args, rest = parser.parse_known_args(["--model-path", "m", flag, "value"])
        found = vars(args).get(flag.removeprefix("--").replace("-", "_"))
        assert found == "value" if flag in needed else rest == [flag, "value"]
        assert args.output_asr_translation is False


def test_a_flag_without_effect_by_its_help_has_none(tmp_path: Path) -> None:
    folder = make_model_folder(tmp_path / "model")
    parser = ArgumentParser()
    add_args(parser)
    given = {str: "elsewhere", int: "3", bool: "True", None: None}
    idle = []
    for action in parser._actions:
        if (action.help or "").startswith("no effect"):
            value = given[
                next(kind for flag, kind, _ in STREAMSPEECH if flag in action.option_strings)
            ]
            idle += [*action.option_strings, *([] if value is None else [value])]
    assert "--multitask-config-yaml" in idle and "--stride-n" not in idle

    def written(*flags: str) -> list[object]:
        agent = SpeechToTextTranslationAgent.from_args(
            parser.parse_args(["--model-path", str(folder), *flags])
        )
        samples = babble(3, seed=60).tolist()
        size = SAMPLE_RATE * 320 // 1000
        segments = [
            SpeechSegment(content=samples[at : at + size], sample_rate=SAMPLE_RATE)
            for at in range(0, len(samples), size)
        ]
        segments[-1].finished = True
        return [agent.pushpop(segment).content for segment in segments]

    assert any(written())
    assert written(*idle) == written()
