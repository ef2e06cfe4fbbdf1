"""The scripted model: an OpenAI-compatible server on loopback, in a background thread."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self

from victor_autotune_plugin.errors import AutotuneError

from . import answers
from .calls import GONE, Call
from .connection import Connection, Gone, Request, Respond, Response
from .conversation import Conversation, read_conversation
from .player import Player, Reply
from .script import Script

HOST: Final = "127.0.0.1"
MODEL: Final = "scripted"
"""Name of the model in the server's list. Any other name is answered as well."""


class ScriptedModel:
    """A chat-completions server that follows a script.

    ```python
    with ScriptedModel(Script(rules=[Rule(role="planner", latency=0.2)])) as model:
        model.base_url                      # http://127.0.0.1:PORT/v1
        model.script = Script()             # from now on, for every call that arrives
        model.calls                         # what was asked, and when
    ```

    It serves until it is closed, in a thread of its own that ends with it. It can be started again afterwards.

    Args:
        script: What it does; without one it answers every call at once.
        port: Port on loopback, or 0 for a free one.
        keep_bodies: Keep the requests, with the prompts in them, in the call log. For tests.
    """

    def __init__(self, script: Script | None = None, *, port: int = 0, keep_bodies: bool = False) -> None:
        self._service = _Service(script or Script(), keep_bodies=keep_bodies)
        self._wanted_port = port
        self._port: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Start serving; returns when the port is open.

        Raises:
            AutotuneError: The port is taken, or the model is running already.
        """
        if self._thread is not None:
            raise AutotuneError("the scripted model is running already", hint="close() it first")
        ready: Future[tuple[int, asyncio.AbstractEventLoop]] = Future()
        thread = threading.Thread(target=self._serve, args=(ready,), name="scripted-model", daemon=True)
        thread.start()
        try:
            self._port, self._loop = ready.result()
        except OSError as error:
            thread.join()
            hint = "choose another port, or 0 for a free one"
            raise AutotuneError(f"can't listen on {HOST}:{self._wanted_port}: {error.strerror}", hint=hint) from error
        except BaseException:  # Ctrl-C while it starts
            ready.add_done_callback(lambda future: future.result()[1].call_soon_threadsafe(future.result()[1].stop))
            raise
        self._thread = thread
        return self

    def close(self) -> None:
        """Stop serving, cut off what is in flight, and wait until thread and sockets are gone. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join()
        self._loop = self._port = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """What clients are given as base URL, with `/v1`.

        Raises:
            AutotuneError: The model is not running.
        """
        if self._port is None:
            raise AutotuneError("the scripted model is not running", hint="start() it, or use it as a context manager")
        return f"http://{HOST}:{self._port}/v1"

    @property
    def script(self) -> Script:
        """What it does. May be set at any time; calls in flight end as they began, and counting starts anew."""
        return self._service.player.script

    @script.setter
    def script(self, script: Script) -> None:
        self._service.player = Player(script)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls that have ended, in that order. A call is here before its client has the answer."""
        return tuple(self._service.calls)

    @property
    def in_flight(self) -> int:
        """Number of calls that wait for their answer now."""
        return self._service.in_flight

    def clear(self) -> None:
        """Forget the calls that have ended."""
        self._service.calls = []

    def _serve(self, ready: Future[tuple[int, asyncio.AbstractEventLoop]]) -> None:
        loop = asyncio.new_event_loop()
        connections: set[Connection] = set()
        try:
            try:
                starting = loop.create_server(lambda: Connection(self._service, connections), HOST, self._wanted_port)
                server = loop.run_until_complete(starting)
            except BaseException as error:
                ready.set_exception(error)
                return
            ready.set_result((server.sockets[0].getsockname()[1], loop))
            loop.run_forever()
            server.close()
            for connection in tuple(connections):
                connection.abort()
            # Lets the transports close their sockets.
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            loop.close()


class _Service:
    """Answers the requests of all connections; lives in the server's thread."""

    def __init__(self, script: Script, *, keep_bodies: bool) -> None:
        self.player = Player(script)
        self.calls: list[Call] = []
        self.in_flight = 0
        self._keep_bodies = keep_bodies
        self._answered = 0

    def handle(self, request: Request, respond: Respond) -> Gone:
        """Answer a request."""
        if request.path == "/v1/chat/completions" and request.method == "POST":
            try:
                body = json.loads(request.body)
                conversation = read_conversation(body)
            except ValueError as error:
                respond(self.bad_request(400, str(error)))
            else:
                return self._complete(conversation, body, respond)
        elif request.path in ("/v1/chat/completions", "/v1/models"):
            allowed = "GET" if request.path == "/v1/models" else "POST"
            if request.method == allowed:
                respond(Response(200, answers.models([MODEL])))
            else:
                respond(self.bad_request(405, f"{request.path} takes {allowed} only"))
        else:
            respond(self.bad_request(404, f"no {request.path} here; there are /v1/chat/completions and /v1/models"))
        return lambda: None

    def bad_request(self, status: int, message: str) -> Response:
        """Return the answer to a request that no rule decides about."""
        return Response(status, answers.error(status, message))

    def _complete(self, conversation: Conversation, body: Mapping[str, Any], respond: Respond) -> Gone:
        started = time.monotonic()
        self.in_flight += 1
        in_flight = self.in_flight
        reply = self.player.play(conversation, in_flight)

        def end(status: int) -> None:
            self.in_flight -= 1
            ok = status == 200
            self.calls.append(
                Call(
                    started=started,
                    ended=time.monotonic(),
                    role=conversation.role,
                    rule=reply.rule,
                    turn=conversation.turn,
                    model=conversation.model,
                    prompt_tokens=reply.prompt_tokens if ok else 0,
                    completion_tokens=reply.completion_tokens if ok else 0,
                    tool_calls=len(reply.tool_calls) if ok else 0,
                    tool_results=conversation.tool_results,
                    tool_results_refused=conversation.tool_results_refused,
                    status=status,
                    in_flight=in_flight,
                    body=body if self._keep_bodies else None,
                )
            )

        def answer() -> None:
            response = self._response(reply, conversation.model, stream=bool(body.get("stream")))
            end(reply.status)
            respond(response)

        if reply.seconds is None:
            return lambda: end(GONE)
        if reply.seconds == 0:
            answer()
            return lambda: None
        timer = asyncio.get_running_loop().call_later(reply.seconds, answer)

        def leave() -> None:
            timer.cancel()
            end(GONE)

        return leave

    def _response(self, reply: Reply, model: str, *, stream: bool) -> Response:
        if reply.status != 200:
            headers = {} if reply.retry_after is None else {"Retry-After": f"{reply.retry_after:g}"}
            message = f"failed as scripted, by {reply.rule!r}"
            return Response(reply.status, answers.error(reply.status, message), headers=headers)
        self._answered += 1
        if stream:
            return Response(200, answers.events(reply, model, self._answered), "text/event-stream")
        return Response(200, answers.completion(reply, model, self._answered))
