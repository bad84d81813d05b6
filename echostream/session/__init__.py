"""Sessions: samples in, words out. Policy, decoding methods, one stream or a batch of streams."""
