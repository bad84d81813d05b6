"""The client of a SimulEval agent that `simuleval --standalone` serves over HTTP.

`PUT /input` sends a segment, `GET /output` runs the policy once, `POST /reset` begins the next
utterance. The server has one agent and no sessions: two clients at a time would mix their
utterances. Only fields that every build of SimulEval has are sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

_MOST_BYTES = 1 << 24  # of a response


class RemoteError(RuntimeError):
    """A server that cannot be reached, or whose response is not that of SimulEval."""


@dataclass(frozen=True)
class Reply:
    """The output of one policy call: text, empty for READ."""

    text: str
    finished: bool


class RemoteAgent:
    """One agent and the connection to it, which stays open between calls.

    Args:
        url: like http://localhost:12321
        timeout_seconds: how long to wait for one response.

    All calls raise `RemoteError` naming the call and the unexpected response.

    Raises:
        ValueError: if `url` is not a URL of HTTP or HTTPS.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        kinds: dict[str, type[HTTPConnection]] = {"http": HTTPConnection, "https": HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname or not _has_usable_port(parts):
            raise ValueError(f"`url` must be like http://localhost:12321, but is {url!r} instead.")
        connection = kinds[parts.scheme]
        self._connection = connection(parts.hostname, parts.port, timeout=timeout_seconds)
        self._url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")

    def close(self) -> None:
        """Closes the connection; the next call would open it again."""
        self._connection.close()

    def describe(self) -> str:
        """The server's description of the agent: its name, source and target type."""
        answer = self._json("GET", "/")
        if "info" not in answer:
            raise RemoteError(f"GET {self._url}/: the answer is not that of a SimulEval agent.")
        return str(answer["info"])

    def reset(self) -> None:
        """Begins the next utterance."""
        self._call("POST", "/reset")

    def push(self, samples: list[Any], sample_rate: int, at_ms: float, finished: bool) -> Reply:
        """Sends samples (S,) or (S, C), which end at `at_ms`; returns the output of the agent."""
        segment = {"content": samples, "sample_rate": sample_rate, "data_type": "speech"}
        return self._exchange(segment | {"index": at_ms, "finished": finished})

    def push_end(self, at_ms: float) -> Reply:
        """Sends one more empty segment after the end of the source; returns the output."""
        return self._exchange({"index": at_ms, "finished": True, "data_type": None})

    def _exchange(self, segment: dict[str, Any]) -> Reply:
        is_empty = segment["data_type"] is None
        self._call("PUT", "/input", json.dumps(segment | {"is_empty": is_empty}).encode())
        answer = self._json("GET", "/output")
        content = answer.get("content") or ""  # an empty segment holds a list
        if not isinstance(content, str) or not isinstance(answer.get("finished"), bool):
            kind = answer.get("data_type")
            raise RemoteError(f"GET {self._url}/output: must answer text, but answered {kind!r}.")
        return Reply(content, answer["finished"])

    def _json(self, method: str, path: str) -> dict[str, Any]:
        content = self._call(method, path)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RemoteError(f"{method} {self._url}{path}: is not JSON: {error}") from error
        if not isinstance(answer, dict):
            raise RemoteError(
                f"{method} {self._url}{path}: is not a segment, but {repr(answer)[:80]}."
            )
        return answer

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        where = f"{method} {self._url}{path}"
        try:
            self._connection.request(method, self._prefix + path, body)
            response = self._connection.getresponse()
            with response:
                content: bytes = response.read(_MOST_BYTES + 1)
        except (OSError, HTTPException) as error:
            self._connection.close()
            reason = str(error) or type(error).__name__
            raise RemoteError(f"{where}: the server does not answer: {reason}") from error
        if len(content) > _MOST_BYTES:
            self._connection.close()
            raise RemoteError(f"{where}: the answer has more than {_MOST_BYTES} bytes.")
        if response.status != 200:
            raise RemoteError(
                f"{where}: the server answered {response.status} {response.reason}; "
                "its own output has the reason."
            )
        return content


def _has_usable_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0  # None: the default port
    except ValueError:
        return False
