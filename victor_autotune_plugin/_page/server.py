"""Serves the page to a browser on this machine, and tells it when something changed.

What keeps others out: it listens on the loopback address alone; the address of the page holds a random token, which is
compared in constant time; a request that names another host is refused, so that no other site's name can be made to
lead here; nothing is written unless that was allowed, and then only with a second token that the page alone knows. The
store is read on threads of its own: one looks for changes, however many browsers there are, one answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web

from ..errors import AutotuneError
from .actions import PageAction, perform
from .run_series import ROLES, RunFilter
from .shell import LIVE_POLICY, MEDIA, SCRIPTS, STYLES, asset, live_page, plain_json

if TYPE_CHECKING:
    from .board import Board

ADDRESS: Final = "127.0.0.1"
"""Where it listens; no other machine reaches it."""

_NAMES: Final = (ADDRESS, "localhost")
_LOOK_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 5.0
_ALIVE_SECONDS: Final = 15.0
_MOST_LISTENERS: Final = 64
_FIRST_ROWS: Final = 100
"""So many teams come with the page itself, so that it is drawn at once."""

_MOST_BYTES: Final = 16_384
_HEADERS: Final = {
    "Content-Security-Policy": LIVE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

T = TypeVar("T")
_log: Final = logging.getLogger(__name__)


class PageServer:
    """The server of one page.

    Args:
        board: What it shows.
        may_act: Whether a person may act on the page.
        title: Title of the page.
        token: What the page's address holds; None for a new one.
    """

    def __init__(
        self, board: Board, *, may_act: bool = False, title: str = "Autotune", token: str | None = None
    ) -> None:
        self.board = board
        self.may_act = may_act
        self.title = title
        self.token = token or secrets.token_urlsafe(24)
        self.csrf = secrets.token_urlsafe(24)
        self.port = 0
        self._listeners: set[asyncio.Event] = set()
        self._trouble: str | None = None
        self._stops = False
        self._looks = ThreadPoolExecutor(1, "autotune-page-looks")
        self._answers = ThreadPoolExecutor(1, "autotune-page-answers")

    @property
    def url(self) -> str:
        """Address of the page; the token is in it."""
        return f"http://{ADDRESS}:{self.port}/{self.token}/"

    def application(self) -> web.Application:
        """Return the application: what it answers to."""
        application = web.Application(middlewares=[self._guarded], client_max_size=_MOST_BYTES)
        application.add_routes(
            [
                web.get("/{token}/", self._page),
                web.get("/{token}/static/{name:.+}", self._asset),
                web.get("/{token}/events", self._events),
                web.get("/{token}/api/{what}", self._answer),
                web.post("/{token}/api/act", self._act),
            ]
        )
        return application

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[PageServer]:
        """Serve for the time of a block.

        Args:
            port: Port to listen at; 0 for one that is free.

        Raises:
            AutotuneError: The port is taken.
        """
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, ADDRESS, port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            hint = "Name another, or leave --port out."
            raise AutotuneError(f"port {port} can't be used: {error.strerror}", where="--port", hint=hint) from error
        self.port = runner.addresses[0][1]
        following = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            following.cancel()
            self._stops = True
            self._wake()
            await runner.cleanup()
            for threads in (self._looks, self._answers):
                threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self) -> None:
        """Look for changes again and again, and wake those that listen."""
        while True:
            trouble = None
            try:
                changed = await self._on(self._looks, self.board.refresh)
            except AutotuneError as error:
                changed, trouble = False, error.message
            except Exception as error:  # the page goes on with what it has
                _log.warning("the store can't be read: %s", type(error).__name__)
                changed, trouble = False, "The store can't be read."
            if changed or trouble != self._trouble:
                self._trouble = trouble
                self._wake()
            if self.board.is_whole or trouble is not None:
                await asyncio.sleep(_LOOK_SECONDS if self._listeners else _QUIET_SECONDS if self.board.version else 0.1)

    async def _on(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def _wake(self) -> None:
        for one in self._listeners:
            one.set()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Let a request through that may ask, with the headers that bound what the page may do."""
        hosts = {f"{name}:{self.port}" for name in _NAMES}
        token = request.path.split("/", 2)[1]
        if request.host not in hosts:
            answer: web.StreamResponse = _told("This server answers to its own address only.", 421)
        elif not secrets.compare_digest(token.encode(), self.token.encode()):
            answer = _told("There is no such page. Open the address that the command printed.", 404)
        elif request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            answer = _told("Another site asked for it.", 403)
        else:
            try:
                answer = await handler(request)
            except web.HTTPException as error:
                answer = _told(error.reason, error.status)
            except AutotuneError as error:
                answer = _told(error.message, 409 if request.method == "POST" else 404)
            except Exception as error:
                _log.warning("a request failed: %s", type(error).__name__)
                answer = _told("It failed. See the command's log.", 500)
        if not answer.prepared:
            answer.headers.update(_HEADERS)
        return answer

    async def _page(self, _: web.Request) -> web.Response:
        config = {"actions": self.may_act, "csrf": self.csrf if self.may_act else ""}
        text = await self._on(
            self._answers,
            lambda: live_page(self.title, {**config, "first": self.board.overview(most=_FIRST_ROWS)}),
        )
        response = web.Response(text=text, content_type="text/html", charset="utf-8")
        response.enable_compression()
        return response

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in (*STYLES, *SCRIPTS):
            raise web.HTTPNotFound
        return web.Response(text=asset(name), content_type=MEDIA[name.rpartition(".")[2]], charset="utf-8")

    async def _answer(self, request: web.Request) -> web.Response:
        asked, board, what = request.query, self.board, request.match_info["what"]

        def answer() -> dict[str, Any]:
            if what == "overview":
                if board.loading is not None and self._trouble is not None:
                    raise AutotuneError(self._trouble)
                return board.overview(int(_number(asked.get("since")) or 0))
            if what == "savings":
                return board.savings()
            if what == "team":
                return board.team(asked.get("workflow", ""), asked.get("team", ""), _filter(asked))
            if what == "runs":
                return board.runs(asked.get("workflow", ""), asked.get("team", ""), _filter(asked))
            if what == "evidence":
                return board.evidence(asked.get("id", ""))
            if what == "run":
                return board.run(asked.get("id", ""))
            raise AutotuneError(f"there is no {what!r}")

        text = await self._on(self._answers, lambda: plain_json(answer()))
        response = web.json_response(text=text)
        response.enable_compression()
        return response

    async def _act(self, request: web.Request) -> web.Response:
        if not self.may_act:
            raise web.HTTPForbidden(reason="Only looking is allowed: start the command with --allow-actions.")
        origin, token = request.headers.get("Origin"), request.headers.get("X-Autotune-Token", "")
        if origin is not None and origin not in {f"http://{name}:{self.port}" for name in _NAMES}:
            raise web.HTTPForbidden(reason="Another site asked for it.")
        if not secrets.compare_digest(token.encode(), self.csrf.encode()) or request.content_type != "application/json":
            raise web.HTTPForbidden(reason="The request is not the page's own.")
        try:
            asked = PageAction.read(await request.json())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise AutotuneError("the request is not understood") from error
        said = await self._on(self._answers, lambda: perform(self.board.runtime, asked))
        await self._on(self._looks, self.board.refresh)
        self._wake()
        return web.json_response(text=plain_json({"said": said}))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Tell a browser the board's version whenever it changed; a slow one misses versions, and no change."""
        if len(self._listeners) >= _MOST_LISTENERS:
            raise web.HTTPServiceUnavailable(reason="Too many pages are open.")
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        wake = asyncio.Event()
        wake.set()
        self._listeners.add(wake)
        try:
            while request.transport is not None and not request.transport.is_closing():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), _ALIVE_SECONDS)
                if self._stops:
                    break
                if wake.is_set():
                    wake.clear()
                    said = f"event: changed\ndata: {self.board.version}\n\n"
                    if self._trouble is not None:
                        said = f"event: trouble\ndata: {' '.join(self._trouble.split())}\n\n"
                else:
                    said = ": still here\n\n"
                await response.write(said.encode())
        except ConnectionError:
            pass
        finally:
            self._listeners.discard(wake)
        return response


def _told(text: str, status: int) -> web.Response:
    return web.json_response(text=plain_json({"error": text}), status=status)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None


def _filter(asked: Any) -> RunFilter:
    role = asked.get("role")
    return RunFilter(
        since=_number(asked.get("since")),
        until=_number(asked.get("until")),
        plan=asked.get("plan") or None,
        role=role if role in ROLES else None,
    )
