"""What models cost, and what token use costs by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from attrs import field, frozen

from .quantities import Dollars, UnixTime

if TYPE_CHECKING:
    from .run import TokenUse


def _ascending(values: Iterable[LongContextPrice]) -> tuple[LongContextPrice, ...]:
    return tuple(sorted(values, key=lambda one: one.above_tokens))


@frozen
class _Rates:
    input_per_million_usd: Dollars
    output_per_million_usd: Dollars
    cached_per_million_usd: Dollars | None = None
    cache_write_per_million_usd: Dollars | None = None
    reasoning_per_million_usd: Dollars | None = None

    def _cost_usd(self, use: TokenUse) -> float:
        kinds = (
            (use.cached_tokens, self.cached_per_million_usd, self.input_per_million_usd),
            (use.cache_write_tokens, self.cache_write_per_million_usd, self.input_per_million_usd),
            (use.reasoning_tokens, self.reasoning_per_million_usd, self.output_per_million_usd),
        )
        fresh = use.input_tokens - use.cached_tokens - use.cache_write_tokens
        total = max(0, fresh) * self.input_per_million_usd
        total += max(0, use.output_tokens - use.reasoning_tokens) * self.output_per_million_usd
        for tokens, own, otherwise in kinds:
            total += tokens * (otherwise if own is None else own)
        return total / 1e6


@frozen
class LongContextPrice(_Rates):
    """The price of calls with a long prompt; it holds for all tokens of such a call.

    Attributes:
        above_tokens: Prompt tokens above which it holds.
    """

    above_tokens: int = field(default=0, kw_only=True)


@frozen
class Price(_Rates):
    """The price of a model.

    Attributes:
        input_per_million_usd: US dollars for a million prompt tokens.
        output_per_million_usd: US dollars for a million completion tokens.
        cached_per_million_usd: US dollars for a million prompt tokens that were read from a cache; the price of prompt
            tokens where it is not given.
        cache_write_per_million_usd: US dollars for a million prompt tokens that were written to a cache; the price of
            prompt tokens where it is not given.
        reasoning_per_million_usd: US dollars for a million reasoning tokens; the price of completion tokens where it is
            not given.
        long_context: Prices of calls with long prompts, which only public prices have.
    """

    long_context: tuple[LongContextPrice, ...] = field(default=(), converter=_ascending, kw_only=True)

    def cost_usd(self, use: TokenUse) -> float:
        """Return what a use of the model costs, US dollars."""
        rates: _Rates = self
        for one in self.long_context:
            if use.context_tokens >= one.above_tokens:
                rates = one
        return rates._cost_usd(use)


@frozen
class KeptPrices:
    """The prices that a test began with, which its runs are priced by until it ends.

    Attributes:
        at: Unix time at which it began, seconds.
        listed: Prices of the settings, by model name or pattern.
        public: Public prices by `provider/model`; None where the settings turned them off.
    """

    at: UnixTime
    listed: Mapping[str, Price] = field(factory=dict)
    public: Mapping[str, Price] | None = None


def find_price(prices: Mapping[str, Price], model: str) -> Price | None:
    """Return the price of a model: its own name's first, else that of the most specific pattern, else None.

    Args:
        prices: Prices by model name or shell pattern (`gpt-*`).
        model: Model name as it was called.
    """
    exact = prices.get(model)
    if exact is not None:
        return exact
    # The pattern with the most literal characters is the most specific; the name makes the choice the same everywhere.
    fitting = (pattern for pattern in prices if fnmatchcase(model, pattern))
    best = min(fitting, key=lambda pattern: (-sum(char not in "*?" for char in pattern), pattern), default=None)
    return None if best is None else prices[best]
