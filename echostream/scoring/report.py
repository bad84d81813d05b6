"""The scores of runs as a Markdown page: a table, the values with compute, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from echostream.extras import how_to_install
from echostream.scoring.judge.report import speech_tables
from echostream.scoring.metrics.table import COMPUTATION_AWARE, NAMES
from echostream.scoring.score import MetricTable, RunScores
from echostream.scoring.tables import markdown_table
from echostream.scoring.warnings import warnings_of

WORDS = "words"
CHARACTERS = "characters"
UNITS = {
    "word": WORDS,
    "joined": WORDS,
    "piece": "pieces",
    "spm": "pieces",
    "char": CHARACTERS,
    "write": "writes of speech",
}
AS_SIMULEVAL = "as SimulEval counts"
ERROR_RATES = {"WER": False, "CER": True}  # True: of characters
_SAME = 1e-9


def rows_of(run: RunScores) -> Iterator[tuple[str, MetricTable]]:
    """The rows of a run with their labels: in words or characters, and in SimulEval's units.

    The second is left out if it has the same values; the first, if the words are unknown.
    """
    label, own = (WORDS, run.words) if run.characters is None else (CHARACTERS, run.characters)
    if own is not None:
        yield label, own
    if own is None or _differ(own.values, run.simuleval_units.values):
        yield f"{UNITS[run.unit]}, {AS_SIMULEVAL}", run.simuleval_units


def error_rate(run: RunScores, name: str) -> float | None:
    """WER or CER of a run; None for the one of the two that was not computed."""
    return run.error_rate if ERROR_RATES[name] is (run.characters is not None) else None


def markdown(runs: Mapping[str, RunScores], has_yaal: bool) -> str:
    """The page about runs, by their names."""
    parts = [_table(runs, has_yaal)]
    aware = {name: run for name, run in runs.items() if run.compute_rtf is not None}
    if aware:
        parts.append("With compute (computation-aware):")
        parts.append(_table(aware, has_yaal, COMPUTATION_AWARE))
    parts.append("Latencies in ms, AP as a ratio; means over the utterances with output.")
    parts += speech_tables(
        {name: (run.discontinuity, run.backlog, run.speech) for name, run in runs.items()}
    )
    signatures = _signatures(runs)
    if signatures:
        parts.append("\n".join(f"- {line}" for line in signatures))
    if not has_yaal:
        parts.append(f"YAAL needs OmniSTEval: {how_to_install('yaal')}.")
    warnings: dict[str, list[str]] = {}
    for name, run in runs.items():
        for line in warnings_of(run):
            warnings.setdefault(line, []).append(name)
    if warnings:
        parts.append("\n".join(f"- {', '.join(names)}: {line}" for line, names in warnings.items()))
    return "\n\n".join(parts) + "\n"


def _signatures(runs: Mapping[str, RunScores]) -> list[str]:
    """sacrebleu's signatures, with the names of the runs if these differ in them."""
    users: dict[str, dict[str, list[str]]] = {}
    for run_name, run in runs.items():
        for name, signature in ({} if run.quality is None else run.quality.signatures).items():
            users.setdefault(name, {}).setdefault(signature, []).append(run_name)
    lines = []
    for name, by_signature in sorted(users.items()):
        for signature, names in sorted(by_signature.items()):
            whose = f" ({', '.join(names)})" if len(by_signature) > 1 else ""
            lines.append(f"{name}: {signature}{whose}")
    return lines


def _table(runs: Mapping[str, RunScores], has_yaal: bool, suffix: str = "") -> str:
    names = [name for name in NAMES if has_yaal or name != "YAAL"]
    rates = [
        name for name in ERROR_RATES if any(error_rate(r, name) is not None for r in runs.values())
    ]
    quality = [*rates, "BLEU", "chrF"] if not suffix else []
    header = ["run", "counted in", "utterances", *quality, *(name + suffix for name in names)]
    rows = [
        [
            name,
            label,
            str(metrics.num_utterances),
            *(_cell("", _quality(run, metric)) for metric in quality),
            *(_cell(metric, metrics.values[metric + suffix]) for metric in names),
        ]
        for name, run in runs.items()
        for label, metrics in rows_of(run)
    ]
    if suffix:
        header.append("compute RTF")
        rtfs = [run.compute_rtf for run in runs.values() for _ in rows_of(run)]
        rows = [[*row, _cell("AP", rtf)] for row, rtf in zip(rows, rtfs, strict=True)]
    return markdown_table([header, *rows])


def _quality(run: RunScores, metric: str) -> float | None:
    if metric in ERROR_RATES:
        return error_rate(run, metric)
    return None if run.quality is None else float(getattr(run.quality, metric))


def _cell(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.{ {'AP': 3, '': 2}.get(metric, 1) }f}"


def _differ(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> bool:
    for name, value in one.items():
        second = other[name]
        if value is None or second is None:
            if value is not second:
                return True
        elif abs(value - second) > _SAME:
            return True
    return False
