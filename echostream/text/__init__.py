"""Text: SentencePiece tokenizers, and words or characters out of tokens that come bit by bit."""
