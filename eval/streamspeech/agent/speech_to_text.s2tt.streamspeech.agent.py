"""SimulEval entry file where StreamSpeech's scripts look for simultaneous translation to text."""

from echostream.agents import SpeechToTextTranslationAgent, entrypoint


@entrypoint
class EchoStreamS2TT(SpeechToTextTranslationAgent):
    """The translation agent; everything is in `echostream.agents`."""
