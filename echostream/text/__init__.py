"""SentencePiece tokenizers, and streaming detokenisation to words or characters."""
