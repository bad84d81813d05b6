"""Servers that follow one another at one address and hand their sessions over."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from live_server import serve_command
from servers import environment, free_port, wait_until_listening


class Servers:
    """Servers one after the other at one address."""

    def __init__(self, model: Path, folder: Path, *flags: str) -> None:
        self.port, self._log = free_port(), folder / "serve.log"
        self._handover = folder / "handover"
        flags = ("--handover", str(self._handover), "--drain-seconds", "5", *flags)
        self._command = serve_command(model, self.port, *flags)
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._running.append(
                subprocess.Popen(self._command, env=environment(), stdout=log, stderr=log)
            )
        wait_until_listening(self.port, self._running[-1], self._log)

    def restart(self, keep: bool = True) -> None:
        """As an operator does it: the next one starts when the one before has stopped.

        Without `keep` the sessions that wait for it are lost.
        """
        self._running[-1].send_signal(signal.SIGTERM)
        assert self._running[-1].wait(timeout=30) == 0
        for path in [] if keep else self._handover.iterdir():
            path.unlink()
        self.start()

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()

    def __enter__(self) -> Servers:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
