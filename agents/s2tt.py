"""SimulEval entry file: simultaneous speech translation (`simuleval --agent agents/s2tt.py`)."""

from echostream.agents import SpeechToTextTranslationAgent, entrypoint


@entrypoint
class EchoStreamS2TT(SpeechToTextTranslationAgent):
    """The translation agent; everything is in `echostream.agents`."""
