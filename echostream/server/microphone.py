"""Audio of a microphone, through PortAudio."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator

from echostream.server.client import PIECE_MS, AudioSourceError

try:
    import sounddevice
except OSError as missing:  # the wheel for Linux is without the library itself
    raise AudioSourceError(
        "`--mic` needs the library PortAudio (in Debian `apt-get install libportaudio2`)."
    ) from missing

_WAITING = 600  # pieces that may wait to be sent: a minute
_SILENT_SECONDS = 10.0


class Microphone:
    """A context that records: pieces of PCM16, mono, at the rate of the device.

    Args:
        device: its number or a part of its name, None for the default of the system.

    Raises:
        AudioSourceError: if there is no such device, or it cannot be opened.
    """

    def __init__(self, device: int | str | None) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._closing = threading.Event()
        try:
            found = sounddevice.query_devices(device, "input")
            self.sample_rate = int(found["default_samplerate"])
            self.name = str(found["name"])
            self._stream = sounddevice.RawInputStream(
                samplerate=self.sample_rate,
                blocksize=self.sample_rate * PIECE_MS // 1000,
                device=device,
                channels=1,
                dtype="int16",
                callback=self._take,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            which = "" if device is None else f" {device!r}"
            raise AudioSourceError(f"no microphone{which} can be opened: {error}.") from error
        self.overflows = 0  # times that the device has lost samples

    def __enter__(self) -> Microphone:
        self._stream.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()  # else a callback that waits would keep the stream open
        self._stream.close()

    def pieces(self, seconds: float | None) -> Iterator[bytes]:
        """The audio as it is recorded, for at most `seconds`.

        Raises AudioSourceError when the device gives none for 10 s.
        """
        left = None if seconds is None else 2 * round(seconds * self.sample_rate)
        while left is None or left > 0:
            try:
                piece = self._pieces.get(timeout=_SILENT_SECONDS)
            except queue.Empty:
                raise AudioSourceError(
                    f"the microphone {self.name} has given no audio for {_SILENT_SECONDS:.0f} s."
                ) from None
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            yield piece

    def _take(self, data: object, _: int, __: object, status: sounddevice.CallbackFlags) -> None:
        """Called on a thread of PortAudio; it waits when a server takes audio too slowly."""
        self.overflows += bool(status.input_overflow)
        while not self._closing.is_set():
            with contextlib.suppress(queue.Full):
                self._pieces.put(bytes(data), timeout=0.1)  # type: ignore[call-overload]
                return
        raise sounddevice.CallbackAbort
