"""The scores of runs as a Markdown page: a table, the values with compute, and the findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from echostream.scoring.findings import findings
from echostream.scoring.metrics.table import AWARE, NAMES
from echostream.scoring.score import Counted, RunScores

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
AS_BUILT = "as the build counts"
ERROR_RATES = {"WER": False, "CER": True}  # whether characters are counted
_SAME = 1e-9


def countings(run: RunScores) -> Iterator[tuple[str, Counted]]:
    """The rows of a run: in words, where they are known, or characters, and as its build counts.

    One row is enough where both say the same.
    """
    label, own = (WORDS, run.words) if run.characters is None else (CHARACTERS, run.characters)
    if own is not None:
        yield label, own
    if own is None or _differ(own.values, run.as_built.values):
        yield f"{UNITS[run.unit]}, {AS_BUILT}", run.as_built


def error_rate(run: RunScores, name: str) -> float | None:
    """WER or CER of a run; None where it is the other, or neither was asked for."""
    return run.error_rate if ERROR_RATES[name] is (run.characters is not None) else None


def markdown(runs: Mapping[str, RunScores], has_yaal: bool) -> str:
    """The page about runs by their names."""
    parts = [_table(runs, has_yaal)]
    aware = {name: run for name, run in runs.items() if run.compute_rtf is not None}
    if aware:
        parts.append("With compute (computation-aware):")
        parts.append(_table(aware, has_yaal, AWARE))
    parts.append("Latencies in ms, AP as a share; means over the utterances with a word.")
    signatures = _signatures(runs)
    if signatures:
        parts.append("\n".join(f"- {line}" for line in signatures))
    if not has_yaal:
        parts.append("YAAL is added where OmniSTEval is installed: `pip install OmniSTEval`.")
    said: dict[str, list[str]] = {}
    for name, run in runs.items():
        for line in findings(run):
            said.setdefault(line, []).append(name)
    if said:
        parts.append("\n".join(f"- {', '.join(names)}: {line}" for line, names in said.items()))
    return "\n\n".join(parts) + "\n"


def _signatures(runs: Mapping[str, RunScores]) -> list[str]:
    """How quality was computed; with the names of the runs where it was not the same for all."""
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
            str(counted.num_utterances),
            *(_cell("", _quality(run, metric)) for metric in quality),
            *(_cell(metric, counted.values[metric + suffix]) for metric in names),
        ]
        for name, run in runs.items()
        for label, counted in countings(run)
    ]
    if suffix:
        header.append("compute RTF")
        rtfs = [run.compute_rtf for run in runs.values() for _ in countings(run)]
        rows = [[*row, _cell("AP", rtf)] for row, rtf in zip(rows, rtfs, strict=True)]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    dashes = ["-" * width for width in widths]
    lines = [header, [dashes[0], dashes[1], *(dash[:-1] + ":" for dash in dashes[2:])], *rows]
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "| " + " | ".join(left + right) + " |"


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
        built = other[name]
        if value is None or built is None:
            if value is not built:
                return True
        elif abs(value - built) > _SAME:
            return True
    return False
