"""The server of the page: who gets an answer, what may be changed, and that a change is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import ClientResponse, ClientSession

from victor_autotune_plugin._page.board import Board
from victor_autotune_plugin._page.server import PageServer
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_testing.page_scenes import ETL, REVIEW, TRIAGE, PageScene

TOKENS = {"X-Autotune-Token": "", "Content-Type": "application/json"}


@pytest.fixture
async def server(board: Board) -> AsyncIterator[PageServer]:
    async with PageServer(board, may_act=True).serving() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as client:
        yield client


async def said(answer: ClientResponse) -> str:
    return str((await answer.json())["error"])


async def test_it_gives_the_page_with_its_own_files_alone(server: PageServer, client: ClientSession) -> None:
    answer = await client.get(server.url)
    assert answer.status == 200
    text = await answer.text()
    assert "<script>" not in text
    assert "style=" not in text
    for name in ("page.css", "page.js", "uplot/uPlot.iife.min.js", "uplot/uPlot.min.css"):
        assert f"static/{name}" in text
        assert (await client.get(f"{server.url}static/{name}")).status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["", "x/", "TOKENx/", "x/api/overview", "x/events", "x/static/page.js"])
async def test_without_the_token_nothing_is_told(server: PageServer, client: ClientSession, path: str) -> None:
    path = path.replace("TOKEN", server.token)
    answer = await client.get(f"http://127.0.0.1:{server.port}/{path}")
    assert answer.status == 404
    assert "Open the address" in await said(answer)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1.evil.example:PORT"])
async def test_a_name_of_another_site_is_refused(server: PageServer, client: ClientSession, host: str) -> None:
    headers = {"Host": host.replace("PORT", str(server.port))}
    answer = await client.get(server.url, headers=headers)
    assert answer.status == 421


async def test_a_request_from_another_site_is_refused(server: PageServer, client: ClientSession) -> None:
    answer = await client.get(f"{server.url}api/overview", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403


@pytest.mark.parametrize(
    "path", ["static/page.html", "static/../server.py", "static/%2e%2e/server.py", "api/nothing", "nothing"]
)
async def test_what_is_not_there_is_not_found(server: PageServer, client: ClientSession, path: str) -> None:
    answer = await client.get(server.url + path)
    assert answer.status == 404
    assert "Traceback" not in await answer.text()


async def test_it_answers_as_the_board_does(server: PageServer, client: ClientSession, board: Board) -> None:
    overview = await (await client.get(f"{server.url}api/overview")).json()
    assert {one["team"] for one in overview["teams"]} == {"reviewers", "triage", "cleaners"}
    key = {"workflow": REVIEW.workflow, "team": REVIEW.team_id}
    team = await (await client.get(f"{server.url}api/team", params=key)).json()
    runs = await (await client.get(f"{server.url}api/runs", params={**key, "role": "before"})).json()
    assert 0 < runs["total"] < team["runs"]["total"]
    since = team["runs"]["points"]["at"][-3] - 0.01
    runs = await (await client.get(f"{server.url}api/runs", params={**key, "since": str(since)})).json()
    assert runs["total"] == 3
    path = await (await client.get(f"{server.url}api/evidence", params={"id": team["live"]})).json()
    assert path["experiment"] == team["live"]
    run = await (await client.get(f"{server.url}api/run", params={"id": team["runs"]["points"]["id"][-1]})).json()
    assert len(run["members"]) == 4
    savings = await (await client.get(f"{server.url}api/savings")).json()
    assert savings == board.savings()


@pytest.mark.parametrize("since", ["nan", "inf", "1e400", "x", "-1"])
async def test_odd_numbers_do_no_harm(server: PageServer, client: ClientSession, since: str) -> None:
    answer = await client.get(f"{server.url}api/overview", params={"since": since})
    assert answer.status == 200
    key = {"workflow": REVIEW.workflow, "team": REVIEW.team_id, "since": since, "until": since}
    assert (await client.get(f"{server.url}api/runs", params=key)).status == 200


async def test_a_change_is_told_to_every_page(server: PageServer, client: ClientSession, scene: Path) -> None:
    async with client.get(f"{server.url}events") as one, client.get(f"{server.url}events") as other:
        assert one.headers["Content-Type"] == "text/event-stream"
        first = [await asyncio.wait_for(listener.content.readuntil(b"\n\n"), 20) for listener in (one, other)]
        assert all(text.startswith(b"event: changed\ndata: ") for text in first)

        def run() -> None:
            team = PageScene(scene, ETL, seed=10, mode="observe")
            team.run()
            team.close()

        await asyncio.to_thread(run)
        for listener, before in zip((one, other), first, strict=True):
            assert await asyncio.wait_for(listener.content.readuntil(b"\n\n"), 20) > before


async def test_only_so_many_pages_are_served(
    server: PageServer, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("victor_autotune_plugin._page.server._MOST_LISTENERS", 1)
    async with client.get(f"{server.url}events") as one:
        await asyncio.wait_for(one.content.readuntil(b"\n\n"), 20)
        assert (await client.get(f"{server.url}events")).status == 503


async def ask(server: PageServer, client: ClientSession, headers: dict[str, str], **body: object) -> ClientResponse:
    key = {"workflow": TRIAGE.workflow, "team": TRIAGE.team_id}
    return await client.post(f"{server.url}api/act", json={**key, **body}, headers={**TOKENS, **headers})


async def test_a_person_approves_what_was_shown(server: PageServer, client: ClientSession, board: Board) -> None:
    page = {"X-Autotune-Token": server.csrf, "Origin": f"http://127.0.0.1:{server.port}"}
    assert board.store is not None
    (waiting,) = board.store.experiments_that_await()
    wrong = await ask(server, client, page, action="approve", experiment="another")
    assert wrong.status == 409
    right = await ask(server, client, page, action="approve", experiment=waiting.id)
    assert (await right.json())["said"] == "triage: approved."
    last = board.store.changes(*TRIAGE.key)[-1]
    assert (last.action, last.actor) == ("started", "person")
    assert last.by
    (row,) = [one for one in board.overview()["teams"] if one["team"] == "triage"]
    assert row["awaits"] == []


async def test_a_person_rejects_pauses_resumes_and_rolls_back(
    server: PageServer, client: ClientSession, board: Board
) -> None:
    page = {"X-Autotune-Token": server.csrf}
    assert board.store is not None
    (waiting,) = board.store.experiments_that_await()
    answer = await ask(server, client, page, action="reject", experiment=waiting.id, reason="not now")
    assert answer.status == 200
    assert "not now" in board.store.changes(*TRIAGE.key)[-1].reason
    for action in ("pause", "resume"):
        assert (await ask(server, client, page, action=action)).status == 200
    actions = [one.action for one in board.store.changes(*TRIAGE.key)]
    assert actions[-3:] == ["rejected", "paused", "resumed"]
    key = {"workflow": REVIEW.workflow, "team": REVIEW.team_id}
    answer = await ask(server, client, page, action="rollback", reason="answers got shorter", **key)
    assert (await answer.json())["said"] == "reviewers: the last change is rolled back."
    last = board.store.changes(*REVIEW.key)[-1]
    assert (last.action, last.reason) == ("rolled_back", "answers got shorter")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Autotune-Token": "x"},
        {"X-Autotune-Token": "CSRF", "Origin": "http://evil.example"},
        {"X-Autotune-Token": "CSRF", "Origin": "null"},
        {"X-Autotune-Token": "CSRF", "Content-Type": "text/plain"},
        {"X-Autotune-Token": "CSRF", "Sec-Fetch-Site": "same-site"},
    ],
)
async def test_what_is_not_the_page_s_own_changes_nothing(
    server: PageServer, client: ClientSession, board: Board, headers: dict[str, str]
) -> None:
    headers = {name: value.replace("CSRF", server.csrf) for name, value in headers.items()}
    answer = await ask(server, client, headers, action="pause")
    assert answer.status == 403
    assert board.store is not None
    assert board.store.changes(*TRIAGE.key)[-1].action == "awaits_approval"


@pytest.mark.parametrize("body", [{"action": "drop"}, {"action": 1}, {"action": "approve"}, {}])
async def test_what_is_not_understood_changes_nothing(
    server: PageServer, client: ClientSession, body: dict[str, object]
) -> None:
    answer = await ask(server, client, {"X-Autotune-Token": server.csrf}, **body)
    assert answer.status == 409


async def test_without_permission_the_page_only_shows(board: Board, client: ClientSession) -> None:
    async with PageServer(board).serving() as server:
        assert server.csrf not in await (await client.get(server.url)).text()
        answer = await ask(server, client, {"X-Autotune-Token": server.csrf}, action="pause")
        assert answer.status == 403
        assert "--allow-actions" in await said(answer)


async def test_a_body_that_is_too_large_is_refused(server: PageServer, client: ClientSession) -> None:
    answer = await ask(server, client, {"X-Autotune-Token": server.csrf}, action="pause", reason="x" * 100_000)
    assert answer.status == 413


async def test_a_store_that_fails_is_told_and_the_page_goes_on(
    server: PageServer, client: ClientSession, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bool:
        raise AutotuneError("the store is locked")

    async with client.get(f"{server.url}events") as events:
        await asyncio.wait_for(events.content.readuntil(b"\n\n"), 20)
        monkeypatch.setattr(board, "refresh", fails)
        told = await asyncio.wait_for(events.content.readuntil(b"\n\n"), 20)
        assert told == b"event: trouble\ndata: the store is locked\n\n"
        assert (await client.get(f"{server.url}api/overview")).status == 200


async def test_a_port_that_is_taken_is_said(board: Board) -> None:
    async with PageServer(board).serving() as server:
        with pytest.raises(AutotuneError, match=f"port {server.port} can't be used"):
            async with PageServer(board).serving(server.port):
                pass


async def test_no_two_pages_have_the_same_address(board: Board) -> None:
    one, other = PageServer(board), PageServer(board)
    assert len(one.token) >= 32
    assert len({one.token, other.token, one.csrf, other.csrf}) == 4


async def test_it_listens_on_this_machine_alone(server: PageServer) -> None:
    with pytest.raises(aiohttp.ClientConnectorError):
        async with ClientSession() as client:
            await client.get(f"http://127.0.0.2:{server.port}/")
