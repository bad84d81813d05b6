"""What `--user-dir` and `--agent-dir` of StreamSpeech's scripts point to; nothing to register."""
