"""`python -m victor_autotune_testing.scripted`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

MODULE = [sys.executable, "-m", "victor_autotune_testing.scripted"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_a_file_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("- {name: greeting, answer: Hello.}\n")
    with subprocess.Popen([*MODULE, "--script", str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/v1", first)
        assert url is not None
        body = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
        with urllib.request.urlopen(f"{url[0]}/chat/completions", body, timeout=10) as response:
            answer = json.load(response)
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(10) == 0
    assert answer["choices"][0]["message"]["content"] == "Hello."
    assert f"base_url: {url[0]}" in rest
    assert "1 calls, at most 1 at once" in rest
    assert "greeting" in rest


def test_a_wrong_script_ends_with_2_and_the_line(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("- nam: greeting\n")
    done = subprocess.run([*MODULE, "--script", str(script)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    known = "name, when, latency, together, crowding, tokens, tools, answer, finds, failures"
    said = f"{script}:1: unknown key 'nam'\n  Did you mean `name`? Known here: {known}.\n"
    assert done.stderr == said
    assert done.stdout == ""


def test_the_example_can_be_printed() -> None:
    done = subprocess.run([*MODULE, "--example"], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("# A script")
