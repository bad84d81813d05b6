"""From audio to features: reading, resampling, log-mel filterbank, normalisation."""

from echostream.frontend.audio import AudioError, clean, read_audio
from echostream.frontend.cmvn import GlobalCmvn
from echostream.frontend.fbank import OnlineFbank
from echostream.frontend.resample import StreamingResampler

# The functions `fbank` and `resample` are imported from their modules, which have the same names.
__all__ = [
    "AudioError",
    "GlobalCmvn",
    "OnlineFbank",
    "StreamingResampler",
    "clean",
    "read_audio",
]
