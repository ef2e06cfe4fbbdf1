"""The tokens of a run are those that its providers bill, whichever way they report them."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from victor_autotune_plugin._host.usage import Usage, billed
from victor_autotune_plugin._model.run import TeamRun, TokenUse
from victor_autotune_testing.realvictor import make_team

from .conftest import Plugin

ANTHROPIC = {
    "input_tokens": 7,
    "output_tokens": 50,
    "cache_read_input_tokens": 9842,
    "cache_creation_input_tokens": 1253,
}
CACHED = {
    "prompt_tokens": 160,
    "completion_tokens": 40,
    "total_tokens": 200,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
APART = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 640,
    "completion_tokens_details": {"reasoning_tokens": 500},
}
GEMINI = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 40,
    "thoughtsTokenCount": 500,
    "cachedContentTokenCount": 60,
    "totalTokenCount": 640,
}
CONVERSE = {
    "inputTokens": 7,
    "outputTokens": 50,
    "totalTokens": 11_152,
    "cacheReadInputTokens": 9842,
    "cacheWriteInputTokens": 1253,
}
DEEPSEEK = {
    "prompt_tokens": 160,
    "completion_tokens": 40,
    "total_tokens": 200,
    "prompt_cache_hit_tokens": 60,
    "prompt_cache_miss_tokens": 100,
}
FEW_APART = {**APART, "total_tokens": 150, "completion_tokens_details": {"reasoning_tokens": 10}}


# --- what Victor's providers really say, over HTTP


def body(path: str, usage: Any) -> dict[str, Any]:
    """Return an answer in the words of the API that a path belongs to."""
    if path.endswith("/messages"):
        text = [{"type": "text", "text": "hi"}]
        message = {"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn"}
        return {**message, "content": text, "usage": usage}
    if "enerateContent" in path:
        candidate = {"content": {"parts": [{"text": "hi"}], "role": "model"}, "finishReason": "STOP"}
        return {"candidates": [candidate], "usageMetadata": usage}
    if path.endswith("/api/chat"):
        message = {"role": "assistant", "content": "hi"}
        return {"model": "l", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": True, **usage}
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [choice]}
    return answer if usage is None else {**answer, "usage": usage}


def events(path: str, usage: Any) -> list[dict[str, Any]]:
    """Return the events of a streamed answer."""
    if path.endswith("/messages"):
        message = {**body(path, {**usage, "output_tokens": 1}), "content": [], "stop_reason": None}
        text = {"type": "text_delta", "text": "hi"}
        return [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": text},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": usage["output_tokens"]},
            },
            {"type": "message_stop"},
        ]
    if "enerateContent" in path:
        return [body(path, usage)]
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt"}
    deltas = [{"role": "assistant", "content": "hi"}, {}]
    ends = [None, "stop"]
    chunks = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
        for delta, end in zip(deltas, ends, strict=True)
    ]
    return chunks if usage is None else [*chunks, {**chunk, "choices": [], "usage": usage}]


class Upstream:
    """Answers every request with one usage, in the words of the API that it came by."""

    usage: Any = None
    failures = 0

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        asked = json.loads(text) if text else {}
        if self.failures:
            self.failures -= 1
            return web.json_response({"error": {"message": "busy", "type": "server_error"}}, status=503)
        if not (asked.get("stream") or "stream" in request.path):
            return web.json_response(body(request.path, self.usage))
        if request.path.endswith("/api/chat"):
            return web.Response(text=json.dumps(body(request.path, self.usage)) + "\n")
        lines = [f"event: {one['type']}\n" if "type" in one else "" for one in events(request.path, self.usage)]
        data = [f"data: {json.dumps(one)}\n\n" for one in events(request.path, self.usage)]
        text = "".join(line + one for line, one in zip(lines, data, strict=True))
        return web.Response(text=f"{text}data: [DONE]\n\n", content_type="text/event-stream")


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    """The server, and its address."""
    made = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield made, f"http://{host}:{port}"
    await runner.cleanup()


def provider_of(module: str, name: str, base: str) -> Any:
    """Make one of Victor's providers, as its registry does."""
    from victor.providers.sandhi_transport import resolve_transport_class

    native = getattr(importlib.import_module(f"victor.providers.{module}_provider"), name)
    if module == "azure_openai":
        return native(api_key="k", endpoint=base, deployment_name="d")
    made = resolve_transport_class(module, native, {})
    address = f"{base}/v1" if module not in ("anthropic", "google", "ollama") else base
    return made(base_url=address) if module == "ollama" else made(api_key="k", base_url=address)


async def run_of(plugin: Plugin, call: Callable[[], Any]) -> TeamRun:
    """Run a team of one member that makes a call."""
    from victor.teams import UnifiedTeamCoordinator

    class Calling:
        id, role = "m0", None

        async def execute_task(self, task: str, context: dict[str, Any]) -> str:
            await call()
            return "done"

        async def receive_message(self, message: Any) -> None:
            return None

    config = make_team("researcher", formation="sequential")
    await UnifiedTeamCoordinator(lightweight_mode=True).execute_team_config(config, members=[Calling()])
    return plugin.run


def bare_provider() -> type:
    """Return a provider of Victor's that says nothing, with all that a provider must have."""
    from victor.providers.base import BaseProvider

    class Bare(BaseProvider):
        async def chat(self, messages: Any, *, model: str, **_: Any) -> Any:
            raise AssertionError("nothing is asked of it but a stream")

        async def stream(self, messages: Any, *, model: str, **_: Any) -> Any:
            raise AssertionError("nothing is asked of it but an answer")

        def supports_tools(self) -> bool:
            return False

        def supports_streaming(self) -> bool:
            return True

        async def close(self) -> None:
            return None

    return Bare


def asking(provider: Any, *, streamed: bool, model: str = "m") -> Callable[[], Any]:
    from victor.providers.base import Message

    async def ask() -> None:
        messages = [Message(role="user", content="x")]
        if not streamed:
            await provider.chat(messages, model=model)
            return
        async for _ in provider.stream(messages, model=model):
            pass

    return ask


PROVIDERS = {
    "anthropic": ("anthropic", "AnthropicProvider", ANTHROPIC, (11_102, 50, 9842, 1253, 0)),
    "openai cached": ("openai", "OpenAIProvider", CACHED, (160, 40, 60, 0, 10)),
    "openai reasoning apart": ("openai", "OpenAIProvider", APART, (100, 540, 0, 0, 500)),
    "deepseek": ("deepseek", "DeepSeekProvider", DEEPSEEK, (160, 40, 60, 0, 0)),
    "xai": ("xai", "XAIProvider", FEW_APART, (100, 50, 0, 0, 10)),
    "google": ("google", "GoogleProvider", GEMINI, (100, 540, 60, 0, 500)),
    "ollama": ("ollama", "OllamaProvider", {"prompt_eval_count": 100, "eval_count": 40}, (100, 40, 0, 0, 0)),
}


@pytest.mark.victor
@pytest.mark.parametrize("streamed", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_what_a_provider_of_victors_bills_is_counted(
    plugin: Plugin, upstream: tuple[Upstream, str], name: str, streamed: bool
) -> None:
    module, cls, usage, expected = PROVIDERS[name]
    server, base = upstream
    server.usage = usage
    run = await run_of(plugin, asking(provider_of(module, cls, base), streamed=streamed))
    assert run.tokens == (TokenUse("m", *expected, provider=module),)
    assert (run.input_tokens, run.output_tokens) == expected[:2]
    assert (run.cached_tokens, run.cache_write_tokens, run.reasoning_tokens) == expected[2:]


@pytest.mark.victor
async def test_what_azures_provider_leaves_out_is_read_from_the_answer(
    plugin: Plugin, upstream: tuple[Upstream, str]
) -> None:
    server, base = upstream
    server.usage = CACHED
    provider = provider_of("azure_openai", "AzureOpenAIProvider", base)
    run = await run_of(plugin, asking(provider, streamed=False))
    await provider.close()
    assert run.tokens == (TokenUse("m", 160, 40, 60, 0, 10, provider="azure"),)


@pytest.mark.victor
@pytest.mark.parametrize("streamed", [False, True], ids=["chat", "stream"])
async def test_a_provider_that_reports_nothing_leaves_the_cost_unknown_and_says_so_once(
    plugin: Plugin, upstream: tuple[Upstream, str], caplog: pytest.LogCaptureFixture, streamed: bool
) -> None:
    caplog.set_level(logging.INFO, "victor_autotune_plugin")
    _, base = upstream
    ask = asking(provider_of("openai", "OpenAIProvider", base), streamed=streamed, model="gpt-4o")

    async def twice() -> None:
        await ask()
        await ask()

    run = await run_of(plugin, twice)
    assert run.tokens == (TokenUse("gpt-4o", provider="openai", unreported_calls=2),)
    assert run.cost_usd is None
    plugin.runtime.hooks.valued(run)
    said = [record.getMessage() for record in caplog.records if "does not report" in record.getMessage()]
    assert said == ["autotune: the cost of runs is not known: openai does not report the tokens of model 'gpt-4o'"]


@pytest.mark.victor
async def test_a_retry_is_billed_once_and_a_failed_call_not_at_all(
    plugin: Plugin, upstream: tuple[Upstream, str]
) -> None:
    server, base = upstream
    server.usage, server.failures = CACHED, 1
    run = await run_of(plugin, asking(provider_of("openai", "OpenAIProvider", base), streamed=False))
    assert server.failures == 0
    assert run.tokens == (TokenUse("m", 160, 40, 60, 0, 10, provider="openai"),)


@pytest.mark.victor
async def test_every_answer_that_a_provider_asks_others_for_is_billed_to_those(
    plugin: Plugin, upstream: tuple[Upstream, str]
) -> None:
    server, base = upstream
    server.usage = CACHED
    inner = provider_of("openai", "OpenAIProvider", base)

    class Insisting(bare_provider()):  # type: ignore[misc]
        """Asks again when it does not like the answer."""

        name = "insisting"

        async def chat(self, messages: Any, *, model: str, **_: Any) -> Any:
            await inner.chat(messages, model="gpt-4o")
            return await inner.chat(messages, model="gpt-4o-mini")

        async def stream(self, messages: Any, *, model: str, **_: Any) -> Any:
            await inner.chat(messages, model="gpt-4o")
            async for chunk in inner.stream(messages, model="gpt-4o-mini"):
                yield chunk

    for streamed in (False, True):
        plugin.runs.clear()
        run = await run_of(plugin, asking(Insisting(), streamed=streamed, model="any"))
        assert [(use.model, use.provider, use.input_tokens) for use in run.tokens] == [
            ("gpt-4o", "openai", 160),
            ("gpt-4o-mini", "openai", 160),
        ]
        assert run.llm_calls == 1
        assert run.members[0].models == ("gpt-4o", "gpt-4o-mini")


@pytest.mark.victor
async def test_a_known_model_has_its_public_cost_without_any_setting(
    plugin: Plugin, upstream: tuple[Upstream, str]
) -> None:
    from genai_prices import Usage as Reference
    from genai_prices import calc_price

    server, base = upstream
    server.usage = ANTHROPIC
    ask = asking(provider_of("anthropic", "AnthropicProvider", base), streamed=True, model="claude-sonnet-4-5")
    await run_of(plugin, ask)
    (stored,) = plugin.stored
    used = Reference(input_tokens=11_102, output_tokens=50, cache_read_tokens=9842, cache_write_tokens=1253)
    assert stored.cost_usd == pytest.approx(float(calc_price(used, "claude-sonnet-4-5").total_price))


# --- what else they may say


@pytest.mark.parametrize(
    ("provider", "usage", "raw", "expected"),
    [
        ("anthropic", {"prompt_tokens": 7, "completion_tokens": 50, **ANTHROPIC}, None, (11_102, 50, 9842, 1253)),
        (
            "anthropic",
            {"prompt_tokens": 5000, "completion_tokens": 1, "cache_read_input_tokens": 10},
            None,
            (5010, 1, 10),
        ),
        ("somebodys", {"prompt_tokens": 7, "completion_tokens": 1, "cache_read_input_tokens": 10}, None, (17, 1, 10)),
        ("openai", {"prompt_tokens": 160, "completion_tokens": 40, "cache_read_input_tokens": 60}, None, (160, 40, 60)),
        (
            "openai",
            {"prompt_tokens": 100, "completion_tokens": 40, "reasoning_tokens": 500},
            None,
            (100, 540, 0, 0, 500),
        ),
        (
            "google",
            {"prompt_tokens": 100, "completion_tokens": 40, "reasoning_tokens": 30, "reasoning_included": False},
            None,
            (100, 70, 0, 0, 30),
        ),
        (
            "openai",
            {"prompt_tokens": 100, "completion_tokens": 40, "reasoning_tokens": 30, "reasoning_included": True},
            None,
            (100, 40, 0, 0, 30),
        ),
        ("any", {"prompt_tokens": 10, "billable_completion_tokens": 50, "completion_tokens": 20}, None, (10, 50)),
        ("bedrock", {"prompt_tokens": 7, "completion_tokens": 50}, {"usage": CONVERSE}, (11_102, 50, 9842, 1253)),
        ("bedrock", {"prompt_tokens": 9849, "completion_tokens": 50, **ANTHROPIC}, None, (11_102, 50, 9842, 1253)),
        ("vertex", {"prompt_tokens": 100, "completion_tokens": 40}, {"usageMetadata": GEMINI}, (100, 540, 60, 0, 500)),
        ("huggingface", {"prompt_tokens": 160, "completion_tokens": 40}, {"usage": CACHED}, (160, 40, 60, 0, 10)),
        (
            "openai",
            None,
            {
                "usage": {
                    "input_tokens": 160,
                    "output_tokens": 40,
                    "input_tokens_details": {"cached_tokens": 60},
                    "output_tokens_details": {"reasoning_tokens": 10},
                }
            },
            (160, 40, 60, 0, 10),
        ),
        ("openai", {"prompt_tokens": 160, "completion_tokens": 40}, {"usage": "much"}, (160, 40)),
        ("openai", {"prompt_tokens": True, "completion_tokens": -3}, None, None),
        ("openai", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None, None),
        ("openai", {}, None, None),
        ("openai", None, None, None),
    ],
)
def test_every_wording_of_usage_is_understood(provider: str, usage: Any, raw: Any, expected: Any) -> None:
    assert billed(provider, usage, raw) == (None if expected is None else Usage(*expected))


async def test_a_stream_that_tells_the_prompt_first_and_the_completion_last_is_counted_whole(plugin: Plugin) -> None:
    from victor.providers.base import StreamChunk

    class Parts(bare_provider()):  # type: ignore[misc]
        name = "parts"

        async def stream(self, messages: Any, *, model: str, **_: Any) -> Any:
            yield StreamChunk(content="a", usage={"prompt_tokens": 100, "completion_tokens": 0})
            yield StreamChunk(content="b", usage={"completion_tokens": 40})
            yield StreamChunk(is_final=True)

    run = await run_of(plugin, asking(Parts(), streamed=True))
    assert run.tokens == (TokenUse("m", 100, 40, provider="parts"),)


async def test_long_prompts_are_counted_apart(plugin: Plugin, upstream: tuple[Upstream, str]) -> None:
    server, base = upstream
    ask = asking(provider_of("openai", "OpenAIProvider", base), streamed=False)

    async def calls() -> None:
        for prompt in (1000, 300_000, 280_000, 2000):
            server.usage = {"prompt_tokens": prompt, "completion_tokens": 1}
            await ask()

    run = await run_of(plugin, calls)
    assert [(use.context_tokens, use.input_tokens, use.output_tokens) for use in run.tokens] == [
        (0, 3000, 2),
        (272_000, 580_000, 2),
    ]
