"""The scripted model: an OpenAI-compatible server on loopback, in a background thread, and the log of its calls."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from attrs import field, frozen

from victor_autotune_plugin.errors import AutotuneError

from . import protocol
from .player import Player
from .protocol import Conversation, Reply
from .script import Script

HOST: Final = "127.0.0.1"
MODEL: Final = "scripted"
"""Name of the model in the server's list. Any other name is answered as well."""
GONE: Final = 499
"""Status of a call whose client left before the answer, or that was cut off when the model was closed."""
_METHODS: Final = {"/v1/chat/completions": "POST", "/v1/models": "GET"}
_MOST_BODY: Final = 64 * 1024 * 1024
_KEPT_ALIVE_SECONDS: Final = 3600.0
"""Of an idle connection. A server that closes it just when the client uses it again looks like a failed call."""


@frozen
class Call:
    """One call of the model. It holds no text of the conversation unless the model was told to keep bodies.

    Attributes:
        started: Monotonic seconds when the request had arrived.
        ended: Monotonic seconds when the answer was sent, or the client left.
        role: Role of the sub-agent, or empty.
        rule: Name of the rule that answered.
        turn: Number of the call in its conversation, from 1.
        model: Name of the model that was asked for.
        prompt_tokens: Reported prompt tokens; 0 when the call failed.
        completion_tokens: Reported completion tokens; 0 when the call failed.
        tool_calls: Tool calls that the answer asks for.
        tool_results: Tool results that came with the request and were new.
        tool_results_refused: Those among them that say that the tool budget is exhausted.
        status: HTTP status, or `GONE`.
        in_flight: Calls in flight when this one arrived, this one included.
        body: The request, when the model keeps bodies.
    """

    started: float
    ended: float
    role: str
    rule: str
    turn: int
    model: str
    prompt_tokens: int
    completion_tokens: int
    tool_calls: int
    tool_results: int
    tool_results_refused: int
    status: int
    in_flight: int
    body: Mapping[str, Any] | None = field(default=None, repr=False, eq=False)

    @property
    def seconds(self) -> float:
        """Time from the request to the answer, in seconds."""
        return self.ended - self.started


def overlaps(one: Call, other: Call) -> bool:
    """Return whether two calls were in flight at the same time."""
    return one.started < other.ended and other.started < one.ended


def max_in_flight(calls: Iterable[Call]) -> int:
    """Return the largest number of these calls that were in flight at the same time, 0 without calls."""
    changes = [change for call in calls for change in ((call.started, 1), (call.ended, -1))]
    now = most = 0
    # At equal times the ends come first: a call that starts when another ends does not overlap it.
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


@frozen
class _Serving:
    """What another thread needs of the server's: its port, its loop, and the future that ends it."""

    port: int
    loop: asyncio.AbstractEventLoop
    closing: asyncio.Future[None]

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.closing.set_result, None)


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
        self._serving: _Serving | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Start serving; returns when the port is open.

        Raises:
            AutotuneError: The port is taken, or the model is running already.
        """
        if self._thread is not None:
            raise AutotuneError("the scripted model is running already", hint="close() it first")
        ready: Future[_Serving] = Future()
        thread = threading.Thread(target=self._run, args=(ready,), name="scripted-model", daemon=True)
        thread.start()
        try:
            self._serving = ready.result()
        except OSError as error:
            thread.join()
            hint = "choose another port, or 0 for a free one"
            raise AutotuneError(f"can't listen on {HOST}:{self._wanted_port}: {error.strerror}", hint=hint) from error
        except BaseException:  # Ctrl-C while it starts
            ready.add_done_callback(lambda future: future.result().end())
            raise
        self._thread = thread
        return self

    def close(self) -> None:
        """Stop serving, cut off what is in flight, and wait until thread and sockets are gone. May be called twice."""
        thread, self._thread = self._thread, None
        serving, self._serving = self._serving, None
        if thread is not None and serving is not None:
            serving.end()
            thread.join()

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
        if self._serving is None:
            raise AutotuneError("the scripted model is not running", hint="start() it, or use it as a context manager")
        return f"http://{HOST}:{self._serving.port}/v1"

    @property
    def script(self) -> Script:
        """What it does. May be set at any time: calls in flight end as they began, and counting starts again."""
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

    def _run(self, ready: Future[_Serving]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, ready: Future[_Serving]) -> None:
        loop = asyncio.get_running_loop()
        self._service.closing = loop.create_future()
        app = web.Application(client_max_size=_MOST_BODY)
        app.router.add_route("*", "/{path:.*}", self._service.answer)
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,  # tells a handler that its client has left
            keepalive_timeout=_KEPT_ALIVE_SECONDS,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self._wanted_port).start()
            ready.set_result(_Serving(runner.addresses[0][1], loop, self._service.closing))
            await self._service.closing
        finally:
            await runner.cleanup()


class _Service:
    """Answers the requests of all connections; lives in the server's thread."""

    closing: asyncio.Future[None]

    def __init__(self, script: Script, *, keep_bodies: bool) -> None:
        self.player = Player(script)
        self.calls: list[Call] = []
        self.in_flight = 0
        self._keep_bodies = keep_bodies
        self._answered = 0
        self._meetings: list[tuple[int, asyncio.Future[None]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request."""
        allowed = _METHODS.get(request.path)
        if allowed is None:
            return _refusal(404, f"no {request.path} here; there are /v1/chat/completions and /v1/models")
        if request.method != allowed:
            return _refusal(405, f"{request.path} takes {allowed} only")
        if allowed == "GET":
            return _json(200, protocol.models([MODEL]))
        if (request.content_length or 0) > _MOST_BODY:
            response = _refusal(413, f"the body is longer than {_MOST_BODY} bytes")
            response.force_close()
            return response
        try:
            body = json.loads(await request.read())
            conversation = protocol.read_conversation(body)
        except ValueError as error:
            return _refusal(400, str(error))
        return await self._complete(conversation, body, request)

    async def _complete(
        self, conversation: Conversation, body: Mapping[str, Any], request: web.Request
    ) -> web.Response:
        started = time.monotonic()
        self.in_flight += 1
        in_flight = self.in_flight
        for least, met in self._meetings:
            if in_flight >= least and not met.done():
                met.set_result(None)
        reply = self.player.play(conversation, in_flight)
        status = GONE
        try:
            if reply.seconds == 0 or await self._waited(reply):
                status = reply.status
        finally:
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
        if status == GONE:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return self._response(reply, conversation.model, stream=bool(body.get("stream")))

    async def _waited(self, reply: Reply) -> bool:
        """Wait until it is time for the answer, and return False if the server closes before."""
        waiting = {self.closing}
        if reply.together is not None:
            if self.in_flight >= reply.together:
                return True
            meeting = (reply.together, asyncio.get_running_loop().create_future())
            self._meetings.append(meeting)
            waiting.add(meeting[1])
        try:
            await asyncio.wait(waiting, timeout=reply.seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if reply.together is not None:
                self._meetings.remove(meeting)
        return not self.closing.done()

    def _response(self, reply: Reply, model: str, *, stream: bool) -> web.Response:
        if reply.status != 200:
            headers = {} if reply.retry_after is None else {"Retry-After": f"{reply.retry_after:g}"}
            return _refusal(reply.status, f"failed as scripted, by {reply.rule!r}", headers)
        self._answered += 1
        if stream:
            events = protocol.events(reply, model, self._answered)
            return web.Response(body=events, content_type="text/event-stream")
        return _json(200, protocol.completion(reply, model, self._answered))


def _json(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json(status, protocol.error(status, message), headers)
