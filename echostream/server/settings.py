"""The settings of a server, apart from the options of its sessions."""

from __future__ import annotations

from dataclasses import dataclass

from echostream.config import ConfigError

KEY = "ECHOSTREAM_API_KEY"  # variable of the environment: the key where no option gives one
# Options of a session that a server sets itself.
FIXED_OPTIONS = ("task", "transcript", "speech", "emission_unit")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The address of a server, the clients that it admits, and its bounds.

    Raises:
        ConfigError: naming the field if a value is out of its range.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free one
    capacity: int = 16  # the most sessions at once
    api_key: str | None = None  # that every client must send; None: no key
    allow_origins: tuple[str, ...] = ()  # pages of other hosts that may connect
    idle_seconds: float = 60  # without a message of the client
    max_minutes: float = 240  # of a session
    drain_seconds: float = 30  # for running sessions after SIGTERM
    send_seconds: float = 10  # for a client to take one message
    max_message_bytes: int = 1 << 20
    max_unsent: int = 512  # messages that wait for a slow client
    max_backlog_groups: int = 8  # groups of a stream that wait for the network

    def __post_init__(self) -> None:
        for name, least in (("port", 0), ("capacity", 1), ("max_message_bytes", 1024)):
            if (value := getattr(self, name)) < least:
                raise ConfigError(f"`{name}` must be at least {least}, but is {value} instead.")
        if self.port > 65535:
            raise ConfigError(f"`port` must be at most 65535, but is {self.port} instead.")
        for name in ("idle_seconds", "max_minutes", "send_seconds", "max_unsent"):
            if not (value := getattr(self, name)) > 0:
                raise ConfigError(f"`{name}` must be above 0, but is {value} instead.")
        if not self.drain_seconds >= 0:
            raise ConfigError(
                f"`drain_seconds` must be at least 0, but is {self.drain_seconds} instead."
            )
        if self.api_key == "":
            raise ConfigError("`api_key` must not be empty: leave it out for a server without.")
