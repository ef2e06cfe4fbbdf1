"""Reads the tokens that a provider bills from what it reports.

Providers report tokens in several ways: Anthropic's prompt tokens leave out what is cached, OpenAI's hold it; reasoning
is among the completion tokens or beside them; some of Victor's providers drop the cached and the reasoning tokens,
which then stand only in the answer as the provider gave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

# Words of providers and of Victor for kinds of tokens.
_PROMPT_WITHOUT_CACHE: Final = ("tokens_in", "inputTokens", "input_tokens")
_PROMPT: Final = ("prompt_tokens", "promptTokenCount", "prompt_eval_count")
_COMPLETION: Final = (
    *("billable_completion_tokens", "tokens_out", "outputTokens", "output_tokens"),
    *("completion_tokens", "candidatesTokenCount", "eval_count"),
)
_CACHED: Final = (
    *("cache_read_input_tokens", "cache_read_tokens", "cacheReadInputTokens", "cachedContentTokenCount"),
    *("cached_tokens", "prompt_cache_hit_tokens"),
)
_CACHE_WRITE: Final = (
    *("cache_creation_input_tokens", "cache_creation_tokens", "cacheWriteInputTokens", "cache_write_tokens"),
)
_REASONING: Final = ("reasoning_tokens", "thoughtsTokenCount", "thinking_tokens")
_TOTAL: Final = ("total_tokens", "totalTokenCount")
_PROMPT_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_COMPLETION_DETAILS: Final = ("completion_tokens_details", "output_tokens_details")

_NO_DETAILS: Final[Mapping[str, Any]] = {}

_LEAVES_CACHE_OUT: Final = "anthropic"
_LEAVES_REASONING_OUT: Final = "xai"
# xAI's completion tokens never hold the reasoning, although Victor 0.9.5 says that they do.


@frozen
class Usage:
    """Tokens that a provider bills; the attributes are those of `TokenUse`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


def billed(provider: str, usage: Any, raw: Any = None) -> Usage | None:
    """Return the tokens of an answer, or None when the provider does not report them: an answer has at least one.

    Args:
        provider: The provider's name.
        usage: What Victor made of its report.
        raw: The answer as the provider gave it, or None.
    """
    found = [_read(provider, one) for one in (usage, *_native(raw)) if isinstance(one, Mapping)]
    # Of two accounts of one answer, one may leave something out, and none makes something up.
    best = max(found, key=_size, default=None)
    return best if best is not None and best.input_tokens + best.output_tokens > 0 else None


def _size(usage: Usage) -> tuple[int, int]:
    details = usage.cached_tokens + usage.cache_write_tokens + usage.reasoning_tokens
    return usage.input_tokens + usage.output_tokens, details


def _native(raw: Any) -> Iterable[Any]:
    return (raw.get("usage"), raw.get("usageMetadata")) if isinstance(raw, Mapping) else ()


def _read(provider: str, report: Mapping[str, Any]) -> Usage:
    details = _details(report, _PROMPT_DETAILS)
    cached = _first(report, _CACHED) or _first(details, _CACHED)
    written = _first(report, _CACHE_WRITE) or _first(details, _CACHE_WRITE)
    prompt = whole = _first(report, _PROMPT)
    if details:  # OpenAI's own words, in which all is among the prompt tokens
        whole = max(prompt or _first(report, _PROMPT_WITHOUT_CACHE), cached + written)
    elif not prompt or _LEAVES_CACHE_OUT in provider or cached > prompt:
        whole = (prompt or _first(report, _PROMPT_WITHOUT_CACHE)) + cached + written
    else:  # Victor's own words: what is read from a cache is among them, what is written to it is not
        whole = prompt + written
    completion = _first(report, _COMPLETION)
    reasoning = _first(report, _REASONING) or _first(_details(report, _COMPLETION_DETAILS), _REASONING)
    total = _first(report, _TOTAL)
    is_apart = (
        reasoning > completion
        or report.get("reasoning_included") is False
        or provider == _LEAVES_REASONING_OUT
        or "thoughtsTokenCount" in report
        or total in (prompt + completion + reasoning, whole + completion + reasoning)
    )
    if is_apart and "billable_completion_tokens" not in report:
        completion += reasoning
    return Usage(whole, completion, cached, written, min(reasoning, completion))


def _details(report: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    return next((report[name] for name in names if isinstance(report.get(name), Mapping)), _NO_DETAILS)


def _first(report: Mapping[str, Any], names: Iterable[str]) -> int:
    """Return the first of some counts that is given and not 0."""
    for name in names:
        value = report.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return int(value)
    return 0
