"""SimulEval entry file: streaming speech recognition (`simuleval --agent agents/asr.py`)."""

from echostream.agents import StreamingASRAgent, entrypoint


@entrypoint
class EchoStreamASR(StreamingASRAgent):
    """The recognition agent; everything is in `echostream.agents`."""
