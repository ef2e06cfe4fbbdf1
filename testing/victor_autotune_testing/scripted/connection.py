"""One HTTP/1.1 connection: reads requests, hands them over one at a time, writes the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol, cast

from attrs import field, frozen

_MOST_HEAD: Final = 64 * 1024
_MOST_BODY: Final = 64 * 1024 * 1024
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


@frozen
class Request:
    """A request.

    Attributes:
        method: `GET`, `POST`, ...
        path: Path without the query.
        body: Body, empty when there is none.
    """

    method: str
    path: str
    body: bytes


@frozen
class Response:
    """An answer.

    Attributes:
        status: HTTP status.
        body: Body.
        content_type: Its media type.
        headers: Further headers.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict)


Respond = Callable[[Response], None]
Gone = Callable[[], None]


class Service(Protocol):
    """Answers requests."""

    def handle(self, request: Request, respond: Respond) -> Gone:
        """Answer a request, now or later.

        Args:
            request: The request.
            respond: To be called once with the answer, from the event loop.

        Returns:
            What to call if the client leaves before `respond` was called.
        """
        ...

    def bad_request(self, status: int, message: str) -> Response:
        """Return the answer to what is no HTTP request that can be served."""
        ...


class _BadRequestError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Connection(asyncio.Protocol):
    """A connection of a client, kept alive between requests.

    Callbacks only, no task and no stream: an answer without latency is written before the loop turns once more.

    Args:
        service: Answers the requests.
        open_connections: Holds this connection while it is open.
    """

    def __init__(self, service: Service, open_connections: set[Connection]) -> None:
        self._service = service
        self._open = open_connections
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._gone: Gone | None = None
        self._busy = False
        self._keep_alive = True
        self._continued = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Tell whoever works on an answer that nobody waits for it."""
        self._transport = None
        self._open.discard(self)
        if self._gone is not None:
            self._gone()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._buffer += data
        self._serve()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _serve(self) -> None:
        while not self._busy and self._transport is not None and not self._transport.is_closing():
            try:
                request = self._next_request()
            except _BadRequestError as error:
                self._keep_alive = False
                self._write(self._service.bad_request(error.status, error.message))
                return
            if request is None:
                return
            self._busy = True
            gone = self._service.handle(request, self._respond)
            if self._busy:
                self._gone = gone

    def _respond(self, response: Response) -> None:
        was_waiting = self._gone is not None
        self._gone, self._busy = None, False
        self._write(response)
        if was_waiting:
            self._serve()

    def _write(self, response: Response) -> None:
        if self._transport is None:
            return
        head = [
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            f"Connection: {'keep-alive' if self._keep_alive else 'close'}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        self._transport.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + response.body)
        if not self._keep_alive:
            self._transport.close()

    def _next_request(self) -> Request | None:
        """Take one request off the buffer, or return None until it is complete."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MOST_HEAD:
                raise _BadRequestError(431, "the headers are too long")
            return None
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            raise _BadRequestError(400, "this is no HTTP/1.1 request")
        fields = (line.partition(":") for line in lines[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        length = self._length(headers)
        body = end + 4
        if len(self._buffer) < body + length:
            self._continue(headers)
            return None
        request = Request(parts[0], parts[1].partition("?")[0], bytes(self._buffer[body : body + length]))
        del self._buffer[: body + length]
        self._continued = False
        connection = headers.get("connection", "").lower()
        self._keep_alive = connection == "keep-alive" if parts[2] == "HTTP/1.0" else connection != "close"
        return request

    @staticmethod
    def _length(headers: Mapping[str, str]) -> int:
        if "transfer-encoding" in headers:
            raise _BadRequestError(411, "send the body with a Content-Length, not chunked")
        text = headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()):
            raise _BadRequestError(400, f"Content-Length is no number: {text!r}")
        if int(text) > _MOST_BODY:
            raise _BadRequestError(413, f"the body is longer than {_MOST_BODY} bytes")
        return int(text)

    def _continue(self, headers: Mapping[str, str]) -> None:
        if headers.get("expect", "").lower() == "100-continue" and not self._continued and self._transport is not None:
            self._continued = True
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
