"""Warnings about the scores of a run, a plain sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from echostream.config import to_dict
from echostream.scoring.judge.report import warnings_of_judge
from echostream.scoring.metrics.atd import text_token_delay
from echostream.scoring.metrics.degenerate import LIMIT
from echostream.scoring.metrics.quality import DEFAULT_TOKENIZER, UNSPACED_TOKENIZER
from echostream.scoring.score import MetricTable, RunScores
from echostream.scoring.texts import references_of
from echostream.scoring.words import text_of


def warnings_of(run: RunScores) -> list[str]:
    """The warnings of one run, from skipped lines to the policy."""
    return [
        *run.log.skipped,
        *run.log.notes,
        *_of_text(run),
        *_of_comparison(run),
        *_of_words(run),
        *_of_compute(run),
        *_of_speech(run),
        *warnings_of_judge(run.speech),
        *_of_al(run),
        *_of_policy(run),
    ]


def _of_text(run: RunScores) -> Iterator[str]:
    num, num_empty = len(run.log.utterances), run.num_empty
    if num_empty == num:
        yield "nothing was written for any utterance, so there is no latency."
    elif num_empty:
        yield (
            f"{num_empty} of {num} predictions are empty; "
            "they count in the quality and not in the latency."
        )
    if blank := [
        str(one.index + 1)
        for one in run.log.utterances
        if one.reference is not None and not one.reference.strip()
    ]:
        lines = f"line{'s' if len(blank) > 1 else ''} {', '.join(blank[:10])}"
        yield (
            f"{len(blank)} of {num} references are empty, in {lines}"
            f"{', ...' if len(blank) > 10 else ''} of the list of references: each word written "
            "for them lowers the quality, and AL, LAAL and AP have no meaning for them."
        )
    if run.quality is None and run.unit != "write":
        missing = sum(one.reference is None for one in run.log.utterances)
        yield f"{missing} of {num} lines have no reference, so there is no quality."
    if run.unit == "joined":
        yield (
            "the words of a prediction run together: this SimulEval joins the output of an agent "
            "without spaces, and the agent does not mark the beginning of words. "
            "The quality is not that of the system; the latency is."
        )


def _of_comparison(run: RunScores) -> Iterator[str]:
    """Differences from SimulEval in how texts are compared, and BLEU that means nothing."""
    if run.quality is None:
        return
    if run.text is not None:
        how = ", ".join(f"{name} {value}" for name, value in to_dict(run.text).items())
        yield f"all texts are normalised before they are compared: {how}. SimulEval's are not."
    logged = run.quality_as_logged
    gives = "" if logged is None else f"BLEU {logged.BLEU:.2f}"
    if any(text_of(one) != one.prediction for one in run.log.utterances):
        yield (
            "this SimulEval wrote the agent's pieces with spaces between them, which gives "
            f"{gives}; here they are joined to words."
        )
    if run.num_recomposed:
        yield (
            f"{run.num_recomposed} predictions or references are not in Unicode's composed form "
            f"(NFC). All texts are compared in it; as written they give {gives}."
        )
    if run.num_several:
        yield (
            f"{run.num_several} of {len(run.log.utterances)} utterances have several references, "
            "with a tab between them: BLEU and chrF take all, an error rate the nearest and "
            f"latency the first. SimulEval takes them as one sentence, which gives {gives}."
        )
    if run.unit == "char" and _num_spaced(run):
        yield (
            "the run was counted in characters, so its log has no spaces, but the references "
            "do: the latency per word is unknown, and only the tokenizer char, which splits "
            "into characters, gives a BLEU."
        )
    if run.characters is not None and run.tokenizer == UNSPACED_TOKENIZER:
        yield (
            "counted in characters, so BLEU is that of sacrebleu's tokenizer "
            f"{UNSPACED_TOKENIZER}; --sacrebleu-tokenizer names another."
        )
    elif run.tokenizer == DEFAULT_TOKENIZER and _is_unspaced(run):
        yield (
            f"the references have no spaces, and sacrebleu's tokenizer {DEFAULT_TOKENIZER} takes "
            "such a sentence as one word: this BLEU has no meaning. Use --sacrebleu-tokenizer "
            "char, zh or ja-mecab, and --eval-latency-unit char."
        )


def _is_unspaced(run: RunScores) -> bool:
    """Most references are one long token in a script that is not ASCII."""
    references = _references(run)
    unspaced = [text for text in references if len(text) > 3 and not text.isascii()]
    return 2 * (len(unspaced) - _num_spaced(run)) > len(references)


def _num_spaced(run: RunScores) -> int:
    return sum(len(text.split()) > 1 for text in _references(run))


def _references(run: RunScores) -> list[str]:
    return [references_of(one.reference)[0] for one in run.log.utterances if one.reference]


def _of_words(run: RunScores) -> Iterator[str]:
    known, unknown = run.segmentation.by_model, run.segmentation.unknown
    if run.characters is not None:
        return
    if run.unit == "char":
        yield "the run was counted in characters, so the latency per word is unknown."
    elif unknown and not run.segmentation.has_model:
        first = unknown[0]
        num_words = len(first.prediction.split())
        yield (
            f"line {first.line} has {len(first.delays)} delays for {num_words} words: SimulEval "
            "counted SentencePiece pieces and did not log them. The latency per word is "
            "unknown; --target-spm with the model of the pieces gives it."
        )
    elif unknown and run.words is None:
        yield (
            f"only {known} of {known + len(unknown)} predictions are cut into as many pieces as "
            "they have delays by the model of --target-spm: it is not the model that wrote them, "
            "so the latency per word is unknown."
        )
    elif known:
        rest = f", {len(unknown)} are not and are left out" if unknown else ""
        yield (
            "the latency per word follows from --target-spm: "
            f"{known} predictions are cut into as many pieces as they have delays{rest}."
        )
    if (
        run.unit == "spm"
        and run.simuleval_units.values["AL"] is None
        and run.simuleval_units.num_utterances
    ):
        yield (
            "AL, LAAL and AP in pieces need the pieces of the reference; "
            "--target-spm with the model of the pieces gives them."
        )


def _of_compute(run: RunScores) -> Iterator[str]:
    without = sum(not one.elapsed for one in run.log.utterances if one.delays)
    if run.unit == "write":
        yield (
            "a log of speech has no times with compute (`elapsed` is empty in every version of "
            "SimulEval), so there are no computation-aware values."
        )
    elif without:
        yield (
            f"{without} of {run.simuleval_units.num_utterances} lines have no times with compute "
            "(`elapsed`), so there are no computation-aware values."
        )


def _of_speech(run: RunScores) -> Iterator[str]:
    nonempty = [one for one in run.log.utterances if one.delays]
    if run.unit != "write" or not nonempty:
        return
    as_text = mean(text_token_delay(one.delays) for one in nonempty)
    yield (
        "ATD cuts the speech into tokens of 300 ms. SimulEval's `--score-only`, and 1.1.4 and its "
        f"head after a run of another agent than EchoStream's, score it as text: {as_text:.1f}."
    )
    need = "" if run.speech else " Quality and latency per word need a recogniser: --asr-judge."
    yield (
        "each write of speech counts as one unit and references count in words, in every version "
        f"of SimulEval: AL, LAAL and AP of speech depend on how often a system writes.{need}"
    )


def _of_al(run: RunScores) -> Iterator[str]:
    for table, units in (
        (run.characters, "characters"),
        (run.words, "words"),
        (run.simuleval_units, "the units of SimulEval"),
    ):
        al = None if table is None else table.values["AL"]
        if al is not None and al < 0:
            yield _negative_al(table, al, units)
            return  # the AL of SimulEval's units would repeat that of the words


def _negative_al(table: MetricTable | None, al: float, units: str) -> str:
    laal = None if table is None else table.values["LAAL"]
    text = (
        f"AL is negative, {al:.1f} ms in {units}: this does not mean that the output was ahead of "
        "the source. AL takes the pace of the output from the reference, so that an output longer "
        "than the reference lowers it"
    )
    return text + ("." if laal is None else f"; LAAL, which avoids this, is {laal:.1f} ms.")


def _of_policy(run: RunScores) -> Iterator[str]:
    test = run.degeneracy
    if test is None or not run.simuleval_units.num_utterances:
        return
    units = "units" if run.words is None else "words"
    if run.characters is not None:
        units = "characters"
    if test.is_offline:
        yield (
            "all output came after the end of the source: this run is offline, and its latency is "
            "the length of the recordings."
        )
    elif test.is_degenerate:
        yield (
            f"likely a degenerate policy: {test.simultaneous:.0f} % of the {units} came before the "
            f"end of the source, where its lag would allow {test.expected:.0f} % (more than "
            f"{LIMIT:.0f} points apart). Its mean lag describes neither the early "
            f"nor the late {units}."
        )
