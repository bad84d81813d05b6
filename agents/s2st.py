"""SimulEval entry file: simultaneous speech-to-speech translation (`--agent agents/s2st.py`)."""

from echostream.agents import SpeechToSpeechTranslationAgent, entrypoint


@entrypoint
class EchoStreamS2ST(SpeechToSpeechTranslationAgent):
    """The speech-to-speech agent; everything is in `echostream.agents`."""
