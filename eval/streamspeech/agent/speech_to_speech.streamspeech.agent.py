"""SimulEval entry file where StreamSpeech's scripts look for speech-to-speech translation."""

from echostream.agents import SpeechToSpeechTranslationAgent, entrypoint


@entrypoint
class EchoStreamS2ST(SpeechToSpeechTranslationAgent):
    """The speech-to-speech agent; everything is in `echostream.agents`."""
