"""A server on loopback that takes notices, as those who are told run one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field, frozen


@frozen
class ReceivedNotice:
    """What came.

    Attributes:
        headers: By lower-case name.
        body: As it came.
    """

    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The body, read as JSON."""
        read: dict[str, Any] = json.loads(self.body)
        return read


@define(eq=False)
class WebhookReceiver:
    """What a server got, and what it answers.

    Attributes:
        url: Its address.
        received: What came, in order.
        answers: The next statuses, then 200.
        hangs: While it is set, nothing is answered.
    """

    url: str = ""
    received: list[ReceivedNotice] = field(factory=list)
    answers: list[int] = field(factory=list)
    hangs: threading.Event = field(factory=threading.Event)
    _came: threading.Condition = field(factory=threading.Condition)
    _released: threading.Event = field(factory=threading.Event)

    @property
    def events(self) -> list[str]:
        """The events that came."""
        return [str(one.fields.get("event")) for one in self.received]

    def await_requests(self, number: int, seconds: float = 20.0) -> None:
        """Wait until so many requests have come."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.received) >= number, seconds), self.received

    def release(self) -> None:
        """Let go what hangs."""
        self.hangs.clear()
        self._released.set()

    def take(self, one: ReceivedNotice) -> int:
        """Take a request in and return its status."""
        with self._came:
            self.received.append(one)
            status = self.answers.pop(0) if self.answers else 200
            self._came.notify_all()
        if self.hangs.is_set():
            self._released.wait(60)
        return status


@contextmanager
def webhook_receiver() -> Iterator[WebhookReceiver]:
    """Run a server for the length of the block."""
    receiver = WebhookReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.take(ReceivedNotice(headers, body))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.release()
        server.shutdown()
        server.server_close()
        thread.join()
