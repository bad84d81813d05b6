"""The page of a timeline: one HTML file with the data, the style and the script inside."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any

from echostream.evaluation.timeline.runs import METRICS, Shown, mean_of
from echostream.evaluation.timeline.trace import Trace
from echostream.scoring.metrics.quality import quality
from echostream.scoring.texts import composed, references_of

Run = tuple[str, Sequence[Shown], Sequence[Trace | None], str]  # name, ..., its options


def page(runs: Sequence[Run], waveforms: Mapping[str, Sequence[float]]) -> str:
    """The page of one run or two; utterances of one name stand side by side."""
    by_name: dict[str, list[dict[str, Any] | None]] = {}
    lengths: dict[str, float] = {}
    references: dict[str, str | None] = {}
    for position, (_, shown, traces, _) in enumerate(runs):
        for one, mine in zip(shown, traces, strict=True):
            places = by_name.setdefault(one.name, [None] * len(runs))
            places[position] = _utterance(one, mine)
            lengths[one.name] = max(one.source_ms, lengths.get(one.name, 0.0))
            references[one.name] = one.reference or references.get(one.name)
    data = {
        "metrics": METRICS,
        "runs": [_run(*run) for run in runs],
        "utterances": [
            {
                "name": name,
                "ms": round(lengths[name], 2),
                "reference": references[name],
                "peaks": [round(peak, 3) for peak in waveforms.get(name, ())],
                "runs": mine,
            }
            for name, mine in by_name.items()
        ],
    }
    title = " and ".join(name for name, *_ in runs)
    parts = {
        "TITLE": html.escape(title),
        "STYLE": _file("page.css"),
        "SCRIPT": _file("page.js"),
        # Nothing in a text can end the element.
        "DATA": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    }
    # In one pass: a name of a part within another is text.
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], _file("page.html"))


def _run(name: str, shown: Sequence[Shown], traces: Sequence[Trace | None], about: str) -> Any:
    texts = [one for one in shown if one.reference is not None]
    bleu = None
    if texts and len(texts) == len(shown):
        choices = [references_of(composed(one.reference or "")) for one in texts]
        bleu = quality([composed(" ".join(one.words)) for one in texts], choices).BLEU
    means = {metric: mean_of([one.lags[metric] for one in shown]) for metric in METRICS}
    traced = sum(mine is not None for mine in traces)
    return {"name": name, "about": about, "traced": traced, "bleu": bleu, **means}


def _utterance(one: Shown, mine: Trace | None) -> dict[str, Any]:
    return {
        "words": one.words,
        "delays": one.delays,
        "elapsed": one.elapsed,
        "bleu": one.bleu,
        "lags": one.lags,
        "reference_words": one.reference_words,
        "trace": None if mine is None else asdict(mine),
    }


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
