"""Meters the model calls of members, by wrapping the providers' `chat` and `stream`.

Sub-agents share their parent's provider object, so who called is read from a `ContextVar`. Providers may wrap
other providers; only the outermost call counts.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

from .. import failsafe
from .meters import MemberMeter, current_member

_in_call: ContextVar[bool] = ContextVar("victor_autotune_in_llm_call", default=False)


async def chat(wrapped: Callable[..., Any], _provider: Any, args: Any, kwargs: Any) -> Any:
    """Meter one call of a provider's `chat`.

    Args:
        wrapped: The bound method.
        _provider: The provider.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.

    Returns:
        The provider's response.
    """
    meter = current_member.get()
    if meter is None or _in_call.get():
        return await wrapped(*args, **kwargs)
    token = _in_call.set(True)
    response = None
    try:
        response = await wrapped(*args, **kwargs)
        return response
    finally:
        _in_call.reset(token)
        _count(meter, kwargs, getattr(response, "usage", None))


def stream(wrapped: Callable[..., Any], _provider: Any, args: Any, kwargs: Any) -> Any:
    """Meter one call of a provider's `stream`.

    Args:
        wrapped: The bound method.
        _provider: The provider.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.

    Returns:
        The provider's chunks, unchanged.
    """
    chunks = wrapped(*args, **kwargs)
    meter = current_member.get()
    if meter is None or _in_call.get() or not inspect.isasyncgen(chunks):
        return chunks
    return _metered(chunks, meter, kwargs)


async def _metered(chunks: Any, meter: MemberMeter, kwargs: Any) -> AsyncIterator[Any]:
    usage = None
    try:
        async with aclosing(chunks) as source:
            while True:
                token = _in_call.set(True)
                try:
                    chunk = await anext(source)
                except StopAsyncIteration:
                    return
                finally:
                    _in_call.reset(token)
                usage = getattr(chunk, "usage", None) or usage
                yield chunk
    finally:
        _count(meter, kwargs, usage)


def _count(meter: MemberMeter, kwargs: Any, usage: Any) -> None:
    with failsafe.guard("metering of a model call"):
        meter.count_llm_call(str(kwargs.get("model") or ""), usage)
