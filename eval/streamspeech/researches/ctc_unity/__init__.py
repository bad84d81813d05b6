"""What `--user-dir` of StreamSpeech's README points to; nothing to register."""
