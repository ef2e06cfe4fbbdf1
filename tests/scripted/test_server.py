"""The scripted model as a server: protocol, concurrency, log, and that nothing of it stays behind."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_testing.scripted import (
    ANSWER,
    GONE,
    Call,
    Failure,
    Rule,
    Script,
    ScriptedModel,
    ToolTurns,
    max_in_flight,
    overlaps,
    scripts,
)

HELLO = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}


class Client:
    """One kept-alive connection."""

    def __init__(self, model: ScriptedModel) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(model.base_url).netloc, timeout=30)

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response, text = self.send_raw(method, path, None if body is None else json.dumps(body).encode())
        return response.status, json.loads(text)

    def send_raw(self, method: str, path: str, body: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        return response, response.read()

    def complete(self, body: Any = HELLO) -> tuple[int, Any]:
        return self.send("POST", "/v1/chat/completions", body)

    def leave(self) -> None:
        self._connection.close()


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def client(model: ScriptedModel) -> Iterator[Client]:
    client = Client(model)
    yield client
    client.leave()


def ask(model: ScriptedModel) -> int:
    """Make one call over a connection of its own, and return the status."""
    client = Client(model)
    try:
        return client.complete()[0]
    finally:
        client.leave()


def raw(model: ScriptedModel, text: bytes, answers: int = 1) -> bytes:
    """Send bytes as they are, and return what comes back until so many answers are complete or the server closes."""
    with socket.create_connection(("127.0.0.1", urlsplit(model.base_url).port or 0), timeout=10) as connection:
        connection.sendall(text)
        got = b""
        while got.count(b"HTTP/1.1 ") < answers or not got.endswith(b"}"):
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
        return got


def wait_until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def test_the_answer_has_text_usage_and_the_models_name(client: Client) -> None:
    status, answer = client.complete()
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "any"
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": ANSWER}
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def test_openais_client_reads_answers_tool_calls_and_streams(model: ScriptedModel) -> None:
    openai = pytest.importorskip("openai")
    model.script = Script([Rule(tools=[ToolTurns(calls=2, tool="read", arguments={"path": "a{n}", "offset": "{n}"})])])
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    with openai.OpenAI(base_url=model.base_url, api_key="x", max_retries=0) as client:
        assert [one.id for one in client.models.list()] == ["scripted"]
        answer = client.chat.completions.create(model="m", messages=messages)
        calls = answer.choices[0].message.tool_calls
        assert [(one.function.name, json.loads(one.function.arguments)) for one in calls] == [
            ("read", {"path": "a0", "offset": 0}),
            ("read", {"path": "a1", "offset": 1}),
        ]
        chunks = list(client.chat.completions.create(model="m", messages=messages, stream=True))
        deltas = [one for chunk in chunks for choice in chunk.choices for one in choice.delta.tool_calls or []]
        assert [(one.index, one.id, one.function.name) for one in deltas] == [
            (0, "call_0", "read"),
            (1, "call_1", "read"),
        ]
        messages += [answer.choices[0].message.model_dump(), {"role": "tool", "tool_call_id": "call_0", "content": "x"}]
        chunks = list(client.chat.completions.create(model="m", messages=messages, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 120
    assert [(call.turn, call.tool_calls, call.tool_results) for call in model.calls] == [
        (1, 2, 0),
        (1, 2, 0),
        (2, 0, 1),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/v1/chat/completions", None, 405, "POST only"),
        ("POST", "/v1/models", {}, 405, "GET only"),
        ("POST", "/chat/completions", HELLO, 404, "/v1/chat/completions"),
        ("POST", "/v1/chat/completions", ["no", "object"], 400, "JSON object"),
        ("POST", "/v1/chat/completions", {"model": "m"}, 400, "messages"),
        ("POST", "/v1/chat/completions", {"messages": ["text"]}, 400, "messages"),
    ],
)
def test_wrong_requests_are_refused_and_the_connection_lives_on(
    client: Client, model: ScriptedModel, method: str, path: str, body: Any, status: int, says: str
) -> None:
    got, answer = client.send(method, path, body)
    assert got == status
    assert says in answer["error"]["message"]
    assert client.complete()[0] == 200
    assert len(model.calls) == 1


def test_a_body_that_is_no_json_is_refused(client: Client) -> None:
    response, text = client.send_raw("POST", "/v1/chat/completions", b"{")
    assert response.status == 400
    assert json.loads(text)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "request_text",
    [
        b"hello\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000,
    ],
)
def test_what_is_no_request_is_answered_and_the_connection_closed(model: ScriptedModel, request_text: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(model.base_url).port or 0), timeout=10) as connection:
        connection.sendall(request_text)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.match(rb"HTTP/1\.[01] 400 ", answer)
    assert model.calls == ()


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(model: ScriptedModel) -> None:
    answer = raw(model, b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer


def test_a_body_may_come_in_chunks(model: ScriptedModel) -> None:
    body = json.dumps(HELLO).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(model, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)).startswith(b"HTTP/1.1 200 OK")


def test_requests_may_come_in_pieces_or_several_at_once(model: ScriptedModel) -> None:
    body = json.dumps(HELLO).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    answer = raw(model, request * 3, answers=3)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    with socket.create_connection(("127.0.0.1", urlsplit(model.base_url).port or 0), timeout=10) as connection:
        for i in range(len(request)):
            connection.sendall(request[i : i + 1])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_waits_for_permission_to_send_its_body_gets_it(model: ScriptedModel) -> None:
    body = json.dumps(HELLO).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    with socket.create_connection(("127.0.0.1", urlsplit(model.base_url).port or 0), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_many_calls_are_in_flight_at_once(model: ScriptedModel) -> None:
    # They wait for the last one: the script answers it, and then everyone's time is up.
    model.script = Script([Rule("last", in_flight=24), Rule("others", failures=[Failure(hang=True)])])
    clients = [Client(model) for _ in range(24)]
    for client in clients[:-1]:
        client._connection.request("POST", "/v1/chat/completions", json.dumps(HELLO))
    wait_until(lambda: model.in_flight == 23)
    assert clients[-1].complete()[0] == 200
    for client in clients:
        client.leave()
    wait_until(lambda: model.in_flight == 0)
    assert max_in_flight(model.calls) == 24
    assert sorted(call.in_flight for call in model.calls) == list(range(1, 25))


def test_calls_can_wait_for_one_another(model: ScriptedModel) -> None:
    model.script = scripts.meeting(3)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: ask(model), range(3))) == [200] * 3
    assert max_in_flight(model.calls) == 3
    assert max(call.seconds for call in model.calls) < 20  # as they would take alone


def test_a_call_takes_the_latency_of_its_rule(model: ScriptedModel) -> None:
    model.script = scripts.succeed_at_once(0.05)
    assert ask(model) == 200
    assert model.calls[0].seconds >= 0.049  # the clocks of the loop and of the log differ by less


def test_the_log_tells_the_conversation_but_keeps_no_text(client: Client, model: ScriptedModel) -> None:
    model.script = Script([Rule("helper", tools=[ToolTurns(calls=2)], prompt_tokens=7, completion_tokens=3)])
    messages = [{"role": "system", "content": "You are an EXECUTOR sub-agent with a secret."}, *HELLO["messages"]]
    before = time.monotonic()
    client.complete({"model": "m", "messages": messages})
    messages.append({"role": "assistant", "content": None, "tool_calls": []})
    messages.append({"role": "tool", "content": "Tool budget exhausted"})
    messages.append(
        {"role": "tool", "content": [{"type": "text", "text": "The tool budget was exhausted before this"}]}
    )
    messages.append({"role": "tool", "content": "1\tsome line"})
    messages.append({"role": "user", "content": "go on"})
    client.complete({"model": "m", "messages": messages})
    first, second = model.calls
    assert before <= first.started <= first.ended <= second.started <= time.monotonic()
    assert (first.role, first.rule, first.model, first.turn, first.tool_calls) == ("executor", "helper", "m", 1, 2)
    assert (first.prompt_tokens, first.completion_tokens, first.tool_results) == (7, 3, 0)
    assert (second.turn, second.tool_calls, second.tool_results, second.tool_results_refused) == (2, 0, 3, 2)
    assert first.body is None
    assert "secret" not in repr(model.calls)
    model.clear()
    assert model.calls == ()


def test_bodies_are_kept_when_asked_for() -> None:
    with ScriptedModel(keep_bodies=True) as model:
        ask(model)
        assert model.calls[0].body == HELLO
        assert "hello" not in repr(model.calls)


def test_failures_have_status_message_and_retry_after(client: Client, model: ScriptedModel) -> None:
    model.script = Script([Rule("limit", failures=[Failure(429, retry_after=2)])])
    response, text = client.send_raw("POST", "/v1/chat/completions", json.dumps(HELLO).encode())
    assert (response.status, response.getheader("Retry-After")) == (429, "2")
    assert json.loads(text)["error"]["type"] == "rate_limit_error"
    (call,) = model.calls
    assert (call.status, call.prompt_tokens, call.completion_tokens, call.tool_calls) == (429, 0, 0, 0)


def test_the_script_can_be_changed_while_calls_are_in_flight(model: ScriptedModel) -> None:
    model.script = Script([Rule("slow", latency=0.3)])
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, model)
        wait_until(lambda: model.in_flight == 1)
        model.script = Script([Rule("fast")])
        ask(model)
        assert slow.result() == 200
    assert [call.rule for call in model.calls] == ["fast", "slow"]


def test_a_call_whose_client_leaves_is_logged_as_gone(model: ScriptedModel) -> None:
    model.script = Script([Rule("hang", failures=[Failure(hang=True, calls=[1])], latency=30)])
    for expected in (1, 2):  # hanging, and slow
        client = Client(model)
        client._connection.request("POST", "/v1/chat/completions", json.dumps(HELLO))
        wait_until(lambda: model.in_flight == 1)
        client.leave()
        wait_until(lambda: model.in_flight == 0)
        assert [call.status for call in model.calls] == [GONE] * expected


def test_closing_leaves_no_thread_socket_or_call_behind() -> None:
    before = set(threading.enumerate())
    model = ScriptedModel(Script([Rule(failures=[Failure(hang=True)])])).start()
    port = urlsplit(model.base_url).port or 0
    client = Client(model)
    client._connection.request("POST", "/v1/chat/completions", json.dumps(HELLO))
    wait_until(lambda: model.in_flight == 1)
    model.close()
    model.close()
    assert set(threading.enumerate()) == before
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client._connection.getresponse()
    client.leave()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    assert model.in_flight == 0
    assert [call.status for call in model.calls] == [GONE]
    with pytest.raises(AutotuneError, match="not running"):
        _ = model.base_url


def test_an_exception_in_the_block_closes_the_model() -> None:
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), ScriptedModel():
        raise KeyboardInterrupt
    assert set(threading.enumerate()) == before


def test_a_model_can_be_started_again_but_not_twice() -> None:
    model = ScriptedModel()
    for _ in range(2):
        with model:
            assert ask(model) == 200
            with pytest.raises(AutotuneError, match="running already"):
                model.start()


def test_a_port_that_is_taken_is_named(model: ScriptedModel) -> None:
    before = set(threading.enumerate())
    port = urlsplit(model.base_url).port or 0
    with pytest.raises(AutotuneError, match=rf"127\.0\.0\.1:{port}"):
        ScriptedModel(port=port).start()
    assert set(threading.enumerate()) == before


def span(started: float, ended: float) -> Call:
    return Call(started, ended, "", "", 1, "", 0, 0, 0, 0, 0, 200, 1)


def test_calls_that_only_touch_do_not_overlap() -> None:
    assert not overlaps(span(0, 1), span(1, 2))
    assert overlaps(span(0, 1), span(0.5, 2))
    assert max_in_flight([]) == 0
    assert max_in_flight([span(0, 1), span(1, 2)]) == 1
    assert max_in_flight([span(0, 3), span(1, 2), span(2, 3)]) == 2
