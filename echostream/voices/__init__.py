"""Speech from text: espeak-ng and Piper voices, behind one interface."""
