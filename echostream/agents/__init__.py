"""SimulEval agents: thin layers on `StreamingTranslator`."""

from simuleval.utils import entrypoint

from echostream.agents.speech_to_speech import SpeechToSpeechTranslationAgent
from echostream.agents.speech_to_text import SpeechToTextTranslationAgent, StreamingASRAgent

# `entrypoint` is exported for the entry files in agents/, which SimulEval loads by path.
__all__ = [
    "SpeechToSpeechTranslationAgent",
    "SpeechToTextTranslationAgent",
    "StreamingASRAgent",
    "entrypoint",
]
