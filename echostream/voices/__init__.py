"""Speech from text: espeak-ng, Piper and Kokoro voices, behind one interface."""
