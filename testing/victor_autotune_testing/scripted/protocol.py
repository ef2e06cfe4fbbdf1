"""The JSON of OpenAI's chat-completions API, as far as clients write and read it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

# Victor's role prompts (victor/agent/subagents/prompts.py) begin like this.
_ROLE: Final = re.compile(r"\bYou are an? ([A-Z]+) sub-agent\b")
# Victor words it in two ways: for the first call beyond a budget, and for the others of the same turn.
_REFUSED: Final = re.compile(r"budget[ _](?:was )?exhausted", re.IGNORECASE)
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


@frozen
class Conversation:
    """A conversation as one request shows it.

    Attributes:
        model: Name of the model.
        role: Role of the sub-agent in lower case, or empty when the system prompt names none.
        goal: The first user message.
        prompt: The system prompt.
        material: What it was given beside the system prompt: user messages and tool results.
        turn: Number of this call, from 1: one more than the answers that the conversation already holds.
        tool_results: Tool results that are new since the last answer.
        tool_results_refused: Those among them that say that the tool budget is exhausted.
    """

    model: str
    role: str
    goal: str
    prompt: str
    material: str
    turn: int
    tool_results: int
    tool_results_refused: int


@frozen
class ToolCall:
    """A tool call that an answer asks for.

    Attributes:
        id: Unique within the conversation.
        name: Name of the tool.
        arguments: Its arguments as JSON.
    """

    id: str
    name: str
    arguments: str


@frozen
class Reply:
    """What happens to one call.

    Attributes:
        rule: Name of the rule.
        seconds: Time until the answer, or None for never.
        status: HTTP status.
        text: The answer; empty when it asks for tools or fails.
        tool_calls: Tool calls that it asks for.
        prompt_tokens: Reported prompt tokens.
        completion_tokens: Reported completion tokens.
        retry_after: Seconds for the `Retry-After` header, or None.
        together: Calls in flight that end the waiting before its time, or None.
    """

    rule: str
    seconds: float | None
    status: int
    text: str
    tool_calls: tuple[ToolCall, ...]
    prompt_tokens: int
    completion_tokens: int
    retry_after: float | None
    together: int | None = None


def read_conversation(body: Any) -> Conversation:
    """Read the body of a chat-completions request.

    Args:
        body: The parsed JSON.

    Raises:
        ValueError: It is no such request.
    """
    if not isinstance(body, Mapping):
        raise ValueError("the request must be a JSON object")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, Mapping) for one in messages):
        raise ValueError("'messages' must be a list of at least one message")
    prompt = "\n".join(_text(one) for one in messages if one.get("role") in ("system", "developer"))
    answers = [i for i, one in enumerate(messages) if one.get("role") == "assistant"]
    new = messages[answers[-1] + 1 :] if answers else messages
    results = [_text(one) for one in new if one.get("role") == "tool"]
    role = _ROLE.search(prompt)
    return Conversation(
        model=str(body.get("model", "")),
        role=role[1].lower() if role else "",
        goal=next((_text(one) for one in messages if one.get("role") == "user"), ""),
        prompt=prompt,
        material="\n".join(_text(one) for one in messages if one.get("role") in ("user", "tool")),
        turn=len(answers) + 1,
        tool_results=len(results),
        tool_results_refused=sum(bool(_REFUSED.search(text)) for text in results),
    )


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def _dump(data: Mapping[str, Any]) -> bytes:
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
    return _dump(_head(model, number, "chat.completion") | {"choices": [choice], "usage": _usage(reply)})


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
    return b"".join(b"data: %b\n\n" % _dump(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def error(status: int, message: str) -> bytes:
    """Return the body of a failed answer."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return _dump({"error": {"message": message, "type": kind, "param": None, "code": None}})


def models(names: list[str]) -> bytes:
    """Return the list of models."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "scripted"} for name in names]
    return _dump({"object": "list", "data": data})


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
