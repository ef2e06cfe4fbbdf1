"""What models cost."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from attrs import frozen


@frozen
class Price:
    """What a model costs.

    Attributes:
        input_per_million_usd: US dollars for a million prompt tokens.
        output_per_million_usd: US dollars for a million completion tokens.
    """

    input_per_million_usd: float
    output_per_million_usd: float

    def cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        """Return what a use costs in US dollars.

        Args:
            input_tokens: Prompt tokens.
            output_tokens: Completion tokens.
        """
        return (input_tokens * self.input_per_million_usd + output_tokens * self.output_per_million_usd) / 1e6


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
