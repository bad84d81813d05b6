"""How the installed build of SimulEval joins tokens to text."""

from __future__ import annotations

from simuleval.evaluator.instance import TextOutputInstance

from echostream.text.tokenizer import WORD_START


def joins_pieces(latency_unit: str) -> bool:
    """Whether the installed SimulEval joins tokens without spaces and replaces "▁" by a space."""
    probe = TextOutputInstance.__new__(TextOutputInstance)
    probe.latency_unit = latency_unit
    probe.prediction_list = [WORD_START + "a", WORD_START + "b"]
    return bool(probe.prediction.strip() == "a b")
