"""The JSON of OpenAI's chat-completions API, as far as clients read it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from .player import Reply

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def dump(data: Mapping[str, Any]) -> bytes:
    """Return compact JSON."""
    return json.dumps(data, separators=(",", ":")).encode()


def completion(reply: Reply, model: str, number: int) -> bytes:
    """Return the body of a whole answer.

    Args:
        reply: What to answer.
        model: Name of the model that was asked for.
        number: Number of the answer, for its id.
    """
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.tool_calls:
        message["tool_calls"] = _tool_calls(reply)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(reply)}
    return dump(_head(model, number, "chat.completion") | {"choices": [choice], "usage": _usage(reply)})


def events(reply: Reply, model: str, number: int) -> bytes:
    """Return a whole answer as server-sent events: the text in pieces, the tool calls, the usage, `[DONE]`.

    Args:
        reply: What to answer.
        model: Name of the model that was asked for.
        number: Number of the answer, for its id.
    """
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(reply.text)]
    deltas += [{"tool_calls": [{"index": i, **one}]} for i, one in enumerate(_tool_calls(reply))]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": _finish_reason(reply)})
    head: dict[str, Any] = _head(model, number, "chat.completion.chunk")
    chunks = [head | {"choices": [choice], "usage": None} for choice in choices]
    chunks.append(head | {"choices": [], "usage": _usage(reply)})
    return b"".join(b"data: %b\n\n" % dump(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def error(status: int, message: str) -> bytes:
    """Return the body of a failed answer.

    Args:
        status: HTTP status.
        message: What went wrong.
    """
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return dump({"error": {"message": message, "type": kind, "param": None, "code": None}})


def models(names: list[str]) -> bytes:
    """Return the list of models."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "scripted"} for name in names]
    return dump({"object": "list", "data": data})


def _head(model: str, number: int, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-scripted-{number}", "object": kind, "created": int(time.time()), "model": model}


def _tool_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
        for one in reply.tool_calls
    ]


def _finish_reason(reply: Reply) -> str:
    return "tool_calls" if reply.tool_calls else "stop"


def _usage(reply: Reply) -> dict[str, int]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def _pieces(text: str, length: int = 40) -> list[str]:
    return [text[i : i + length] for i in range(0, len(text), length)]
