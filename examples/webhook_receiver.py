"""Takes notices of the plugin, and believes only those that are signed.

Run it beside a project whose settings name it, with the same secret in both environments:

    OPS_WEBHOOK_SECRET=... python examples/webhook_receiver.py 8099

    notify:
      ops: {url: "http://127.0.0.1:8099/", secret_env: OPS_WEBHOOK_SECRET}
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

OLDEST_SECONDS = 300.0
seen: set[str] = set()


def is_genuine(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """Return whether a notice was signed with the secret, not long ago.

    Args:
        headers: By lower-case name.
        body: As it came, before it is read as JSON.
        secret: Text, or `whsec_` and base64.
    """
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    at, name = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not at.isdigit() or abs(time.time() - int(at)) > OLDEST_SECONDS:
        return False
    signed = hmac.digest(key, f"{name}.{at}.".encode() + body, hashlib.sha256)
    expected = f"v1,{base64.b64encode(signed).decode()}"
    return hmac.compare_digest(expected.encode(), headers.get("webhook-signature", "").encode())


class Receiver(BaseHTTPRequestHandler):
    """Prints each notice once."""

    def do_POST(self) -> None:
        """Take a notice: 204 for taken, 401 for a wrong signature."""
        body = self.rfile.read(min(int(self.headers.get("content-length", "0")), 1_000_000))
        headers = {name.lower(): value for name, value in self.headers.items()}
        genuine = is_genuine(headers, body, os.environ["OPS_WEBHOOK_SECRET"])
        if genuine and headers["webhook-id"] not in seen:  # one may come twice
            seen.add(headers["webhook-id"])
            notice = json.loads(body)
            print(f"{notice['event']}: {notice['title']}. {notice['text']}", flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print notices alone."""


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
