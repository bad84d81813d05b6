"""SimulEval entry file where StreamSpeech's scripts look for streaming recognition."""

from echostream.agents import StreamingASRAgent, entrypoint


@entrypoint
class EchoStreamASR(StreamingASRAgent):
    """The recognition agent; everything is in `echostream.agents`."""
