"""The session: samples in, words out. Policy, decoding method, one stream or a batch of many."""
