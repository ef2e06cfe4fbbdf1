"""`dashboard`: it tells its address, answers there alone, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import Said

CALL = (sys.executable, "-c", "from victor_autotune_plugin._cli.app import main; main()", "dashboard")


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*CALL, *options], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def asked(url: str) -> Any:
    with urllib.request.urlopen(f"{url}api/overview") as answer:
        return json.load(answer)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(project: Callable[[str], None], tmp_path: Path, how: signal.Signals) -> None:
    project("testing")
    with started(tmp_path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(url) as page:
            assert "Autotune" in page.read().decode()
        while (overview := asked(url))["loading"] is not None:
            time.sleep(0.05)
        (row,) = overview["teams"]
        assert row["team"] == "team"
        process.send_signal(how)
        assert process.wait(20) == 0


def test_it_shows_only_unless_actions_are_allowed(project: Callable[[str], None], tmp_path: Path) -> None:
    project("testing")
    with started(tmp_path, "--json") as process:
        assert process.stdout is not None
        text = "".join(iter(process.stdout.readline, "}\n")) + "}"
        told = json.loads(text)
        assert told["actions"] is False
        assert told["url"].startswith(f"http://127.0.0.1:{told['port']}/")
        body = json.dumps({"action": "pause", "workflow": "flow", "team": "team"}).encode()
        asked = urllib.request.Request(f"{told['url']}api/act", body, {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(asked)


def test_where_nothing_was_recorded_it_waits_for_it(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}api/overview") as answer:
            assert json.load(answer)["teams"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said(call: Callable[..., Said]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = call("dashboard", "--port", str(port))
    assert said.code == 2
    assert f"port {port} can't be used" in said.err
