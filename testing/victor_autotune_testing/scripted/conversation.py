"""What a request says about the conversation that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

# Victor's role prompts (victor/agent/subagents/prompts.py) begin like this.
_ROLE: Final = re.compile(r"\bYou are an? ([A-Z]+) sub-agent\b")
# Victor words it in two ways: for the first call beyond a budget, and for the others of the same turn.
_REFUSED: Final = re.compile(r"budget[ _](?:was )?exhausted", re.IGNORECASE)


@frozen
class Conversation:
    """A conversation as one request shows it.

    Attributes:
        model: Name of the model.
        role: Role of the sub-agent in lower case, or empty when the system prompt names none.
        goal: The first user message.
        prompt: The system prompt.
        turn: Number of this call, from 1: one more than the answers that the conversation already holds.
        tool_results: Tool results that are new since the last answer.
        tool_results_refused: Those among them that say that the tool budget is exhausted.
    """

    model: str
    role: str
    goal: str
    prompt: str
    turn: int
    tool_results: int
    tool_results_refused: int


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
