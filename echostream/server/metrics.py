"""The numbers of `/metrics`, in the format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.32, 0.48, 0.64, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Counters of one server; each server of a process has its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge(
            "echostream_sessions", "Sessions that are open.", registry=self.registry
        )
        self.opened = Counter(
            "echostream_sessions_opened", "Sessions opened so far.", registry=self.registry
        )
        self.refused = Counter(
            "echostream_refused",
            "Connections refused, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.ended = Counter(
            "echostream_sessions_ended",
            "Sessions ended, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.audio_seconds = Counter(
            "echostream_audio_seconds", "Seconds of audio received.", registry=self.registry
        )
        self.step_seconds = self._seconds("step", "Seconds of one step of the network.")
        self.step_streams = Counter(
            "echostream_step_streams", "Streams in all steps so far.", registry=self.registry
        )
        self.queue_seconds = self._seconds(
            "queue", "Seconds from the arrival of the newest audio to the step that encodes it."
        )
        self.lag_seconds = self._seconds(
            "lag", "Seconds from the arrival of the newest audio that words need to the words."
        )

    def _seconds(self, name: str, text: str) -> Histogram:
        name = f"echostream_{name}_seconds"
        return Histogram(name, text, buckets=_SECONDS, registry=self.registry)

    def text(self) -> bytes:
        """All of them, as `/metrics` shows them."""
        return generate_latest(self.registry)
