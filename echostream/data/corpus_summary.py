"""The report on a prepared corpus: hours, lengths, rates, and what was left out and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from echostream._version import __version__
from echostream.config import to_dict
from echostream.extras import extra
from echostream.files import replacing, write_whole
from echostream.text.normalization import TextNormalization

STEM = "report"
_PERCENTILES = (0, 5, 50, 95, 100)


@dataclass(frozen=True)
class SplitSummary:
    """A split: lengths in seconds, and characters a second of each of the two texts."""

    seconds: tuple[float, ...]
    source_rates: tuple[float, ...]
    target_rates: tuple[float, ...]
    num_speakers: int

    @classmethod
    def of(
        cls,
        seconds: Sequence[float],
        texts: Sequence[tuple[str | None, str | None]],
        speakers: Sequence[str],
    ) -> SplitSummary:
        """The summary of utterances by their lengths, texts and speakers ("" if unknown)."""
        rates: tuple[list[float], list[float]] = ([], [])
        for length, pair in zip(seconds, texts, strict=True):
            for side, text in zip(rates, pair, strict=True):
                if text is not None:
                    side.append(len(text) / length)
        return cls(tuple(seconds), tuple(rates[0]), tuple(rates[1]), len(set(speakers) - {""}))

    def to_dict(self) -> dict[str, object]:
        """The figures of the split."""
        figures: dict[str, object] = {
            "utterances": len(self.seconds),
            "hours": round(sum(self.seconds) / 3600, 4),
            "speakers": self.num_speakers,
            "with_source": len(self.source_rates),
            "with_target": len(self.target_rates),
        }
        for name, values in self.values().items():
            figures[f"{name}_percentiles"] = _percentiles(values)
        return figures

    def values(self) -> dict[str, tuple[float, ...]]:
        """What histograms are made of, by name."""
        return {
            "seconds": self.seconds,
            "source_characters_a_second": self.source_rates,
            "target_characters_a_second": self.target_rates,
        }


@dataclass
class LeftOutCount:
    """How many utterances were left out for a reason, and the first of them."""

    split: str
    reason: str
    first: str
    count: int = 0


@dataclass
class CorpusSummary:
    """All splits of a prepared corpus, and what was left out."""

    text: TextNormalization
    splits: dict[str, SplitSummary] = field(default_factory=dict)
    left_out: dict[tuple[str, str], LeftOutCount] = field(default_factory=dict)
    num_short_files: int = 0  # files whose header declares more audio than follows

    def leave_out(self, split: str, reason: str, name: str) -> None:
        """Counts an utterance that is left out."""
        key = split, reason
        self.left_out.setdefault(key, LeftOutCount(split, reason, name)).count += 1

    def left_out_text(self) -> str:
        """The reasons with their counts, in one line."""
        return "; ".join(
            f"{each.count} {each.split}: {each.reason} (first: {each.first[:200]})"
            for each in self.left_out.values()
        )

    def to_dict(self) -> dict[str, object]:
        """All figures, for JSON."""
        return {
            "echostream": __version__,
            "text": to_dict(self.text),
            "splits": {name: split.to_dict() for name, split in self.splits.items()},
            "left_out": [asdict(each) for each in self.left_out.values()],
            "files_with_fewer_samples_than_declared": self.num_short_files,
        }

    def to_markdown(self, title: str) -> str:
        """The report as tables."""
        rows = [
            f"# {title}",
            "",
            "Texts: " + ", ".join(f"{name} {value}" for name, value in to_dict(self.text).items()),
            "",
            "| split | utterances | hours | speakers | with transcript | with translation |",
            "|---|---|---|---|---|---|",
        ]
        for name, split in self.splits.items():
            rows.append(
                f"| {name} | {len(split.seconds)} | {sum(split.seconds) / 3600:.3f} "
                f"| {split.num_speakers or '?'} | {len(split.source_rates)} "
                f"| {len(split.target_rates)} |"
            )
        shown = " / ".join(f"p{p}" for p in _PERCENTILES)
        rows += ["", f"| split | figure | {shown} |", "|---|---|---|"]
        for name, split in self.splits.items():
            for figure, values in split.values().items():
                if values:
                    numbers = " / ".join(f"{value:.2f}" for value in _percentiles(values))
                    rows.append(f"| {name} | {figure.replace('_', ' ')} | {numbers} |")
        rows += ["", "| left out of | utterances | because of | the first |", "|---|---|---|---|"]
        for each in self.left_out.values():
            first = " ".join(each.first[:200].replace("|", "\\|").split())
            rows.append(f"| {each.split or '?'} | {each.count} | {each.reason} | {first} |")
        if not self.left_out:
            rows.append("| | 0 | | |")
        if self.num_short_files:
            rows += [
                "",
                f"{self.num_short_files} files have a header that declares more audio than "
                "follows; they are used as far as they go.",
            ]
        return "\n".join(rows) + "\n"


def write_report(summary: CorpusSummary, folder: Path, title: str) -> str:
    """Writes report.md, report.json and, with matplotlib, report.png; returns the first.

    Raises ExtraError if matplotlib is missing, after the other two are written.
    """
    page = summary.to_markdown(title)
    write_whole(folder / f"{STEM}.md", page)
    write_whole(folder / f"{STEM}.json", json.dumps(summary.to_dict(), indent=2) + "\n")
    _draw(summary, folder / f"{STEM}.png", title)
    return page


def _draw(summary: CorpusSummary, path: Path, title: str) -> None:
    """A histogram for each split and figure."""
    with extra("eval", "the histogram of the report"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    names = list(SplitSummary((), (), (), 0).values())
    figure = Figure(figsize=(10, 2.4 * len(summary.splits) + 0.6))
    figure.subplots_adjust(left=0.06, right=0.98, hspace=0.45, wspace=0.2)
    axes = figure.subplots(len(summary.splits), len(names), squeeze=False)
    for row, (split_name, split) in zip(axes, summary.splits.items(), strict=True):
        for axis, (name, values) in zip(row, split.values().items(), strict=True):
            axis.stairs(*np.histogram(values, bins=40), fill=True, color="#3b6ea5")
            axis.set_title(f"{split_name}: {name.replace('_', ' ')}", fontsize=9)
            axis.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=10)
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)  # type: ignore[no-untyped-call]


def _percentiles(values: Sequence[float]) -> list[float]:
    if not values:
        return []
    return [round(float(value), 3) for value in np.percentile(values, _PERCENTILES)]
