"""One HTML page with recordings and the speech of their translation: waveforms, words, players."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echostream.evaluation.waveform import peaks
from echostream.session.playback import WrittenWords
from echostream.streaming.clock import SAMPLE_RATE

_WIDTH, _HEIGHT = 1000, 60  # of a waveform, in units of its drawing
_LINE = 16  # height of a line of words

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
section { margin: 2.5rem 0; }
h2 { font-size: 1rem; margin: 0 0 .25rem; }
p { margin: .25rem 0; }
audio { width: 100%; }
svg { width: 100%; height: auto; display: block; }
.source { fill: #0072B2; } .target { fill: #D55E00; } .cursor { stroke: currentColor; }
.tick { stroke: currentColor; opacity: .25; }
text { font: 12px system-ui, sans-serif; fill: currentColor; }
.scroll { overflow-x: auto; } .scroll svg { min-width: 40rem; }
"""
_SCRIPT = """
for (const section of document.querySelectorAll("section")) {
  const audio = section.querySelector("audio"), cursor = section.querySelector(".cursor");
  const seconds = Number(section.dataset.seconds);
  const move = () => {
    const x = WIDTH * audio.currentTime / seconds;
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x);
    if (!audio.paused) requestAnimationFrame(move);
  };
  audio.addEventListener("play", move); audio.addEventListener("seeked", move);
}
"""


@dataclass(frozen=True)
class Example:
    """A recording and the speech of its translation, on one time axis."""

    name: str
    source: NDArray[np.float32]  # (S,) at 16 kHz
    target: NDArray[np.float32]  # (S',) at 16 kHz
    words: Sequence[WrittenWords]

    @property
    def stereo(self) -> NDArray[np.float32]:
        """The recording on the left, its translation on the right: `(S, 2)`, in [-1, 1]."""
        size = max(len(self.source), len(self.target))
        sides = [np.pad(side, (0, size - len(side))) for side in (self.source, self.target)]
        return np.stack(sides, axis=1).clip(-1, 1)


def page(examples: Sequence[Example], title: str) -> str:
    """The page; it needs no other file, and no network."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n"
        "<p>Left channel and blue: the recording. Right channel and orange: the translation, as a "
        "player plays it. A word stands where it is written; its speech follows.</p>\n"
        + "".join(map(_section, examples))
        + f"<script>{_SCRIPT.replace('WIDTH', str(_WIDTH))}</script>\n</body>\n</html>\n"
    )


def _section(example: Example) -> str:
    stereo = example.stereo
    seconds = max(len(stereo), 1) / SAMPLE_RATE
    return (
        f'<section data-seconds="{seconds:.3f}">\n<h2>{html.escape(example.name)}</h2>\n'
        f"<p>{html.escape(_text(example))}</p>\n"
        f'<audio controls preload="metadata" src="{_data_url(stereo)}"></audio>\n'
        f'<div class="scroll">{_drawing(example, stereo, seconds)}</div>\n</section>\n'
    )


def _text(example: Example) -> str:
    return " ".join(word for written in example.words for word in written.words)


def _data_url(stereo: NDArray[np.float32]) -> str:
    file = io.BytesIO()
    sf.write(file, stereo, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _drawing(example: Example, stereo: NDArray[np.float32], seconds: float) -> str:
    words = _words(example.words, seconds)
    lines = max((line for _, line, _ in words), default=0) + 1
    top = lines * _LINE
    shapes = [
        f'<text x="{x:.1f}" y="{(line + 1) * _LINE - 4}">{html.escape(word)}</text>'
        for x, line, word in words
    ]
    for side, kind in enumerate(("source", "target")):
        middle = top + _HEIGHT * (side + 0.5)
        outline = _outline(stereo[:, side], middle)
        shapes.append(f'<path class="{kind}" d="{outline}"/>')
    height = top + 2 * _HEIGHT
    for second in range(1, math.ceil(seconds)):
        x = _WIDTH * second / seconds
        shapes.append(f'<path class="tick" d="M{x:.1f} {top}V{height}"/>')
        shapes.append(f'<text x="{x + 3:.1f}" y="{height - 2}">{second} s</text>')
    shapes.append(f'<line class="cursor" x1="0" x2="0" y1="0" y2="{height}"/>')
    about = html.escape(_text(example))
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{about}">'
        f"{''.join(shapes)}</svg>"
    )


def _words(spoken: Sequence[WrittenWords], seconds: float) -> list[tuple[float, int, str]]:
    """Position, line and text; a text that would cover the one before goes to the next line."""
    placed: list[tuple[float, int, str]] = []
    free = [0.0, 0.0, 0.0]  # where each line ends so far
    for one in spoken:
        text = " ".join(one.words)
        x = _WIDTH * one.delay_ms / 1000 / seconds
        line = next((n for n, end in enumerate(free) if end <= x), int(np.argmin(free)))
        free[line] = x + 7.0 * (len(text) + 1)
        placed.append((x, line, text))
    return placed


def _outline(samples: NDArray[np.float32], middle: float) -> str:
    """The loudest sample of each column, mirrored."""
    heights = peaks(samples, _WIDTH // 2)
    half = _HEIGHT / 2 - 2
    upper = [f"{2 * i},{middle - half * peak - 0.5:.1f}" for i, peak in enumerate(heights)]
    lower = [f"{2 * i},{middle + half * peak + 0.5:.1f}" for i, peak in enumerate(heights)]
    return "M" + "L".join([*upper, *reversed(lower)]) + "Z"
